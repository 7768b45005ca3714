"""Small cohorts on disk, and one rendered federation for all tests of this room."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedgestalt.data import Cohort
from fedgestalt.data.federation import make_federation

COLUMNS = ("image", "patient", "syndrome", "role", "test_splits")
TINY = {"tier": "tiny", "silos": 4, "split": "near-uniform", "seed": 5}


class Folder:
    """A cohort's folder that a test fills as it likes."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root

    @staticmethod
    def photo(seed: int, size: tuple[int, int] = (32, 32)) -> bytes:
        """A JPEG whose content differs from seed to seed."""
        pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        return file.getvalue()

    @staticmethod
    def row(image: str, **changes: str) -> dict[str, str]:
        """A row that is right: a frequent patient of one photo."""
        usual = {"patient": Path(image).stem, "syndrome": "OMIM:122470", "role": "train", "test_splits": ""}
        return {"image": image, **usual, **changes}

    def manifest(self, rows: Sequence[Mapping[str, str]], *, encoding: str = "utf-8") -> Path:
        """Write ``manifest.csv`` and return the folder."""
        with (self.root / "manifest.csv").open("w", newline="", encoding=encoding) as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        return self.root

    def fill(self, rows: Sequence[Mapping[str, str]], *, encoding: str = "utf-8") -> Path:
        """Write the manifest and, for each row, a photo of its own; return the folder."""
        for number, cells in enumerate(rows):
            self.put(cells["image"], self.photo(number))
        return self.manifest(rows, encoding=encoding)

    def put(self, image: str, content: bytes) -> None:
        """Write one file below the folder."""
        path = self.root / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "cohort")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Cohort]]:
    """The tiny tier of four silos, rendered once by one process. Tests only read it."""
    out = tmp_path_factory.mktemp("tiny") / "federation"
    return out, make_federation(out, **TINY, workers=1)
