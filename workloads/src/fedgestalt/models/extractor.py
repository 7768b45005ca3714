"""What every network of the ensemble has in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGE_SIZE = 112  # side of the aligned crop that every extractor takes, in pixels


class Extractor(nn.Module):
    """A face network: float32 ``[N, 3, 112, 112]``, RGB, values in [-1, 1], to float32 ``[N,
    embedding_dim]``.

    Embeddings are not normalised: heads and the ensemble do that where they need it.
    """

    embedding_dim: int

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, not {embedding_dim}")
        self.embedding_dim = embedding_dim

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError


def normalise(images: Tensor) -> Tensor:
    """Pixels 0..255 (any dtype) to float32 ``(x / 255 - 0.5) / 0.5``, the ArcFace convention."""
    return images.to(torch.float32).div(127.5).sub(1.0)


def initialise_convolutions(module: nn.Module) -> None:
    """He's normal initialisation for convolutions and linear layers (He et al. 2015, arXiv 1502.01852)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
