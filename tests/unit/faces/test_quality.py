from pathlib import Path

import cv2
import numpy as np

from fedgestalt.faces.detect import Detection, detect
from fedgestalt.faces.photo import decode
from fedgestalt.faces.pixels import resize
from fedgestalt.faces.quality import REMEDIES, Finding, assess


def _photo(portraits: dict[Path, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    path, truth = next(iter(portraits.items()))
    return resize(decode(path.read_bytes()), 320, 320), truth * 2


def _assess(image: np.ndarray, landmarks: np.ndarray, faces: int = 1) -> set[Finding]:
    box = np.array([*landmarks.min(0), *landmarks.max(0)], dtype=np.float32)
    return set(assess(image, Detection(box, landmarks.astype(np.float32), 0.9, faces)).findings)


def test_a_frontal_portrait_has_no_finding(portraits: dict[Path, np.ndarray]) -> None:
    assert _assess(*_photo(portraits)) == set()


def test_each_flaw_is_found(portraits: dict[Path, np.ndarray]) -> None:
    photo, truth = _photo(portraits)
    nose = np.array([0, 0, 1, 0, 0])[:, None]
    across = truth[1] - truth[0]
    turn = np.array([[np.cos(0.7), np.sin(0.7)], [-np.sin(0.7), np.cos(0.7)]])
    assert Finding.SEVERAL_FACES in _assess(photo, truth, faces=2)
    assert Finding.FACE_TOO_SMALL in _assess(resize(photo, 80, 80), truth / 4)
    assert Finding.HEAD_TURNED in _assess(photo, truth + 0.5 * nose * across)
    assert Finding.HEAD_TILTED in _assess(photo, (truth - 160) @ turn + 160)
    assert Finding.BLURRED in _assess(cv2.GaussianBlur(photo, (0, 0), 9), truth)
    assert Finding.TOO_DARK in _assess(photo // 8, truth)
    assert Finding.TOO_BRIGHT in _assess(photo // 16 + 239, truth)


def test_no_face_is_a_finding() -> None:
    blank = np.zeros((64, 64, 3), dtype=np.uint8)
    assert assess(blank, detect([blank])[0]).findings == (Finding.NO_FACE,)


def test_every_finding_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Finding)
