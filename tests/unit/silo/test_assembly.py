"""What a site cannot provide for one round is that round's refusal, and never the end of the others."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedgestalt.silo.assembly import _photos
from fedgestalt.silo.refusal import TaskRefusal


def site(folder: Path) -> Any:
    return SimpleNamespace(datasets={"faces": folder / "cohort"}, withdrawn=folder / "withdrawn.json")


@pytest.mark.parametrize(
    ("dataset", "said"), [("voices", "no dataset 'voices'"), ("faces", "cohort cannot be read")]
)
def test_a_dataset_that_is_not_there_is_refused_and_asked_for_again(
    tmp_path: Path, dataset: str, said: str
) -> None:
    with pytest.raises(TaskRefusal, match=said) as refused:
        _photos(site(tmp_path), dataset, ["SYN:F001"])
    assert refused.value.status()["phase"] == "Pending"
    assert str(tmp_path) not in str(refused.value)  # the coordinator reads it


def test_a_cohort_that_was_put_back_is_counted(tmp_path: Path) -> None:
    (tmp_path / "cohort").mkdir()
    rows = ["image,patient,syndrome,role,test_splits", "a.jpg,p1,SYN:F001,train,", "b.jpg,p2,SYN:F002,train,"]
    (tmp_path / "cohort" / "manifest.csv").write_text("\n".join(rows) + "\n")
    assert _photos(site(tmp_path), "faces", ["SYN:F001"]) == 1
