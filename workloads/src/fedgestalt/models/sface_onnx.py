"""Convert the OpenCV Zoo's SFace: ``python -m fedgestalt.models.sface_onnx FILE.onnx FILE.safetensors``.

Takes ``face_recognition_sface_2021dec_int8bq.onnx`` (Apache-2.0), whose weights are stored as int8 in blocks
while the network itself computes in float32. Needs the package ``onnx``, which fedgestalt does not otherwise
use.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from fedgestalt.models.digest import file_digest
from fedgestalt.models.sface import SFace

UPSTREAM_DIGEST = "sha256:fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"


def convert(source: Path, target: Path) -> None:
    """Write SFace's weights under the names of ``fedgestalt.models.sface.SFace``.

    Raises:
        ValueError: the file is another one, or its layers are not those of SFace.
        ModuleNotFoundError: ``onnx`` is not installed.
    """
    found = file_digest(source)
    if found != UPSTREAM_DIGEST:
        raise ValueError(
            f"{source} has digest {found}, not {UPSTREAM_DIGEST}: take the OpenCV Zoo's int8bq file"
        )
    onnx: Any = importlib.import_module("onnx")
    graph = onnx.load(str(source)).graph
    layers = _layers(graph, onnx)
    network = SFace()
    modules = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.PReLU, nn.Linear, *_NORMS))]
    if len(modules) != len(layers):
        raise ValueError(f"{source} has {len(layers)} layers with weights, SFace has {len(modules)}")
    for module, weights in zip(modules, layers, strict=True):
        names = _PARAMETERS[_NORMS if isinstance(module, _NORMS) else type(module)]
        for name, tensor in zip(names, weights, strict=True):
            own = getattr(module, name)
            own.data = tensor.reshape(own.shape)
    tensors = {
        k: v.contiguous() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")
    }
    save_file(tensors, target)


_NORMS = (nn.BatchNorm2d, nn.BatchNorm1d)
_PARAMETERS: dict[object, tuple[str, ...]] = {
    nn.Conv2d: ("weight",),
    nn.PReLU: ("weight",),
    nn.Linear: ("weight", "bias"),
    _NORMS: ("weight", "bias", "running_mean", "running_var"),
}


def _layers(graph: Any, onnx: Any) -> list[list[Tensor]]:
    """The weights of each layer in the order of execution."""
    values: dict[str, NDArray[Any]] = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    layers = []
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "DequantizeLinear":
            stored, scale, zero = (values[name] for name in node.input)
            axis, block = attributes["axis"], attributes["block_size"]
            values[node.output[0]] = _dequantise(stored, scale, zero, axis, block)
        elif node.op_type == "Reshape" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].reshape(values[node.input[1]])
        elif node.op_type in ("Conv", "BatchNormalization", "PRelu", "Gemm"):
            layers.append([torch.from_numpy(values[name].astype(np.float32)) for name in node.input[1:]])
    return layers


def _dequantise(
    stored: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], axis: int, block: int
) -> NDArray[np.float32]:
    """Blocks of ``block`` numbers along ``axis`` share a scale and a zero point (ONNX
    DequantizeLinear-21)."""
    length = stored.shape[axis]
    spread = [
        np.take(np.repeat(a, block, axis), np.arange(length), axis).astype(np.float32) for a in (scale, zero)
    ]
    values: NDArray[np.float32] = (stored.astype(np.float32) - spread[1]) * spread[0]
    return values


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
    print(file_digest(Path(sys.argv[2])))
