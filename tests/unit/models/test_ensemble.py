import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fedgestalt.models.ensemble import VIEWS, Ensemble, Member
from fedgestalt.models.extractor import Extractor
from fedgestalt.models.registry import build_extractor


class _Probe(Extractor):
    """Answers with two pixels' channels and a constant, so that a test can read which view it was shown."""

    def __init__(self) -> None:
        super().__init__(7)
        self.constant = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        pixels = [images[:, :, 0, 0], images[:, :, 0, -1]]
        return torch.cat([*pixels, self.constant.expand(len(images), 1)], dim=1)


class _Broken(_Probe):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * torch.nan


def _images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)


def test_rows_are_unit_and_inner_products_are_mean_cosines() -> None:
    ensemble = Ensemble([Member("a", build_extractor("resnet_s16")), Member("b", _Probe())])
    images = _images()
    embeddings, encodings = ensemble.encode(images), ensemble.encodings(images)
    assert embeddings.shape == (5, 4 * 256 + 4 * 7) == (5, ensemble.embedding_dim)
    assert embeddings.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-14)
    cosines = np.mean([encoding @ encoding.T for encoding in encodings], axis=0)
    np.testing.assert_allclose(embeddings @ embeddings.T, cosines, atol=1e-14)


def test_encodings_run_over_member_then_flip_then_grey() -> None:
    ensemble = Ensemble([Member("b", _Probe()), Member("a", _Probe())])
    assert ensemble.encoding_names == tuple(f"{member}/{view}" for member in "ba" for view in VIEWS)
    image = np.zeros((1, 112, 112, 3), dtype=np.uint8)
    image[0, 0, 0], image[0, 0, -1] = (255, 0, 0), (0, 255, 0)
    red, green = np.array([1.0, -1, -1]), np.array([-1.0, 1, -1])
    grey_red, grey_green = (
        np.full(3, 76 / 127.5 - 1),
        np.full(3, 150 / 127.5 - 1),
    )  # BT.601 luma 76.2 and 149.7
    pairs = [(red, green), (grey_red, grey_green), (green, red), (grey_green, grey_red)]
    for encoding, (left, right) in zip(ensemble.encodings(image), pairs * 2, strict=True):
        raw = np.array([*left, *right, 1.0])
        np.testing.assert_allclose(encoding[0], raw / np.linalg.norm(raw), atol=1e-6)


def test_batches_and_training_mode_leave_no_trace() -> None:
    extractor = build_extractor("resnet_s16").train()
    before = {name: tensor.clone() for name, tensor in extractor.state_dict().items()}
    ensemble = Ensemble([Member("a", extractor)])
    images = _images()
    np.testing.assert_allclose(ensemble.encode(images, batch=2), ensemble.encode(images), atol=1e-6)
    assert extractor.training
    assert all(torch.equal(before[name], tensor) for name, tensor in extractor.state_dict().items())


def test_progress_reaches_the_end() -> None:
    seen: list[tuple[int, int]] = []
    Ensemble([Member("a", _Probe())]).encode(_images(5), 2, lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_no_photos_give_no_rows() -> None:
    assert Ensemble([Member("a", _Probe())]).encode(_images(0)).shape == (0, 28)


def test_a_network_that_answers_nonsense_is_named() -> None:
    with pytest.raises(ValueError, match="'broken'"):
        Ensemble([Member("broken", _Broken())]).encode(_images(1))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        Ensemble([Member("a", _Probe()), Member("a", _Probe())])
    with pytest.raises(ValueError, match="uint8"):
        Ensemble([Member("a", _Probe())]).encode(_images().astype(np.float32))
