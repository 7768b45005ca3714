"""Turn the published MTCNN weight files into the vendored ones: ``python -m fedgestalt.faces.convert SOURCE
TARGET``.

SOURCE is the ``facenet_pytorch/data`` folder of the wheel that assets/PROVENANCE.md names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from fedgestalt.faces.networks import load_networks


def convert(source: Path, target: Path) -> None:
    """Write pnet, rnet and onet as safetensors, the tensors unchanged, and check that the networks take
    them."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("pnet", "rnet", "onet"):
        tensors = torch.load(source / f"{name}.pt", map_location="cpu", weights_only=True)
        save_file({key: value.contiguous() for key, value in tensors.items()}, target / f"{name}.safetensors")
    load_networks(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
