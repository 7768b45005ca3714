from pathlib import Path

import numpy as np
import pytest

from fedgestalt.models.sface_onnx import _dequantise, convert


def test_blocks_share_scale_and_zero_point() -> None:
    stored = np.arange(10, dtype=np.int8).reshape(2, 5)
    scale, zero = np.array([[1.0, 2.0, 4.0]] * 2), np.array([[0, 1, 0]] * 2, dtype=np.int8)
    expected = [[0, 1, 2, 4, 16], [5, 6, 12, 14, 36]]
    np.testing.assert_array_equal(_dequantise(stored, scale, zero, axis=1, block=2), expected)


def test_only_the_known_file_is_converted(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match="OpenCV Zoo"):
        convert(tmp_path / "other.onnx", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
