"""The names of the published arcface_torch checkpoints, written out, so that a renamed attribute cannot pass."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fedgestalt.models.registry import build_extractor
from fedgestalt.models.weights import WeightsMismatch, load_initial_weights

LAYERS = {"iresnet18": (2, 2, 2, 2), "iresnet50": (3, 4, 14, 3), "iresnet100": (3, 13, 30, 3)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    keys = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{key}": (width,) for key in keys}, f"{name}.num_batches_tracked": ()}


def _published(name: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 3, 3), "prelu.weight": (64,)}
    shapes |= _norm("bn1", 64) | _norm("bn2", 512) | _norm("features", 512)
    shapes |= {"fc.weight": (512, 25088), "fc.bias": (512,)}
    before = 64
    for stage, blocks in enumerate(LAYERS[name], start=1):
        width = 32 * 2**stage
        for block in range(blocks):
            prefix = f"layer{stage}.{block}"
            shapes |= (
                _norm(f"{prefix}.bn1", before) | _norm(f"{prefix}.bn2", width) | _norm(f"{prefix}.bn3", width)
            )
            shapes |= {
                f"{prefix}.conv1.weight": (width, before, 3, 3),
                f"{prefix}.conv2.weight": (width, width, 3, 3),
                f"{prefix}.prelu.weight": (width,),
            }
            if block == 0:
                shapes |= {f"{prefix}.downsample.0.weight": (width, before, 1, 1)}
                shapes |= _norm(f"{prefix}.downsample.1", width)
            before = width
    return shapes


def _synthetic(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {
        name: torch.zeros(shape, dtype=torch.long) if name.endswith("tracked") else torch.rand(shape)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_names_and_shapes_are_those_of_the_checkpoints(name: str) -> None:
    with torch.device("meta"):
        own = build_extractor(name).state_dict()
    assert {key: tuple(value.shape) for key, value in own.items()} == _published(name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_checkpoint_in_that_naming_loads(tmp_path: Path, suffix: str) -> None:
    tensors = _synthetic(_published("iresnet18"))
    path = tmp_path / f"backbone{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    extractor = build_extractor("iresnet18")
    assert load_initial_weights(extractor, path) == path
    own = extractor.state_dict()
    assert all(torch.equal(own[name], tensors[name]) for name in tensors)


def test_a_checkpoint_of_another_depth_is_refused_by_name(tmp_path: Path) -> None:
    shapes = _published("iresnet18")
    del shapes["layer1.1.conv1.weight"]
    path = tmp_path / "other.pt"
    torch.save(_synthetic(shapes | {"layer9.0.conv1.weight": (1,), "prelu.weight": (65,)}), path)
    with pytest.raises(WeightsMismatch, match=r"layer1\.1\.conv1.*layer9.*prelu"):
        load_initial_weights(build_extractor("iresnet18"), path)
