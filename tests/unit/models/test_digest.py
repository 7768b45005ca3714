import subprocess
import sys

import numpy as np
import pytest

from fedgestalt.models.digest import file_digest, model_hash


def test_order_in_the_mapping_and_memory_layout_do_not_matter() -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2)
    assert model_hash({"a": a, "b": b}) == model_hash({"b": b, "a": np.asfortranarray(a)})


def test_endianness_does_not_matter() -> None:
    values = np.arange(4, dtype="<f4")
    assert model_hash({"a": values}) == model_hash({"a": values.astype(">f4")})


@pytest.mark.parametrize(
    "other",
    [
        {"b": np.arange(6, dtype=np.float32)},
        {"a": np.arange(6, dtype=np.float64)},
        {"a": np.arange(6, dtype=np.float32).reshape(2, 3)},
        {"a": np.nextafter(np.arange(6, dtype=np.float32), 9)},
        {"a": np.arange(6, dtype=np.float32), "b": np.zeros(0, dtype=np.float32)},
        {},
    ],
    ids=["name", "dtype", "shape", "value", "extra", "none"],
)
def test_every_difference_changes_the_hash(other: dict[str, np.ndarray]) -> None:
    assert model_hash(other) != model_hash({"a": np.arange(6, dtype=np.float32)})


def test_moving_a_boundary_between_name_and_value_changes_the_hash() -> None:
    one, two = np.frombuffer(b"bc", dtype=np.uint8), np.frombuffer(b"c", dtype=np.uint8)
    assert model_hash({"a": one}) != model_hash({"ab": two})


def test_the_encoding_is_pinned() -> None:
    """Silos of different versions must agree: a new encoding needs a new domain string."""
    tensors = {"w": np.arange(3, dtype=np.float32), "n": np.array(7, dtype=np.int64)}
    assert model_hash(tensors) == "03de2a5a9b594e932864d46cbd0dfaeee1b8abc7f8c7585bd82c8bc206b81576"


def test_objects_cannot_be_hashed() -> None:
    with pytest.raises(TypeError, match="'x'"):
        model_hash({"x": np.array(["text"], dtype=object)})


def test_a_file_digest_names_its_algorithm(tmp_path: object) -> None:
    path = tmp_path / "file"  # type: ignore[operator]
    path.write_bytes(b"abc")
    assert file_digest(path) == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_protocol_side_gets_the_hash_without_torch() -> None:
    code = "import sys, fedgestalt.models.digest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
