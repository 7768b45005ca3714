import pytest
import torch

from fedgestalt.models.extractor import normalise
from fedgestalt.models.registry import EXTRACTORS, build_extractor

SIZES = {  # parameters without BatchNorm statistics, and width
    "iresnet18": (24_025_600, 512),
    "iresnet50": (43_590_848, 512),
    "iresnet100": (65_156_160, 512),
    "mobilefacenet": (1_200_512, 512),
    "resnet_s16": (416_656, 256),
    "sface": (9_642_880, 128),
}


def test_every_extractor_is_accounted_for() -> None:
    assert set(EXTRACTORS) == set(SIZES)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_sizes_and_widths_are_those_of_the_published_networks(name: str) -> None:
    with torch.device("meta"):
        extractor = build_extractor(name)
    parameters, width = SIZES[name]
    assert sum(p.numel() for p in extractor.parameters()) == parameters
    assert extractor.embedding_dim == width


@pytest.mark.parametrize("name", ["iresnet18", "mobilefacenet", "resnet_s16", "sface"])
def test_an_embedding_per_image(name: str) -> None:
    extractor = build_extractor(name).eval()
    with torch.inference_mode():
        out = extractor(torch.rand(2, 3, 112, 112) * 2 - 1)
    assert out.shape == (2, extractor.embedding_dim)
    assert torch.isfinite(out).all()


def test_the_seed_decides_the_weights() -> None:
    torch.manual_seed(3)
    a = build_extractor("resnet_s16").state_dict()
    torch.manual_seed(3)
    b = build_extractor("resnet_s16").state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_options_reach_the_extractor() -> None:
    assert build_extractor("resnet_s16", embedding_dim=64).embedding_dim == 64


def test_unknown_names_and_options_are_one_clear_error() -> None:
    with pytest.raises(ValueError, match="resnet_s16"):
        build_extractor("resnet_s17")
    with pytest.raises(ValueError, match=r"sface.*embedding_dim"):
        build_extractor("sface", embedding_dim=64)


def test_widths_that_torch_cannot_train_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        build_extractor("resnet_s16", widths=(8, 16, 32, 64))


def test_pixels_are_normalised_as_arcface_does() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    expected = (pixels.double() / 255 - 0.5) / 0.5
    torch.testing.assert_close(normalise(pixels).double(), expected, atol=1e-6, rtol=0)
