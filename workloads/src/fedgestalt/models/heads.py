"""Classification heads that train an extractor: a linear softmax layer and CosFace."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class LossConfig:
    """How embeddings become logits.

    Attributes:
        type: ``Softmax``, a linear layer with a bias, or ``CosFace`` (Wang et al. 2018, arXiv 1801.09414,
        equation 4).
        scale: CosFace's s, the inverse temperature of the cosines.
        margin: CosFace's m, subtracted from the cosine of the true class while training.
    """

    type: Literal["Softmax", "CosFace"] = "Softmax"
    scale: float = 20.0
    margin: float = 0.1

    def __post_init__(self) -> None:
        if self.type not in ("Softmax", "CosFace"):
            raise ValueError(f"loss.type must be Softmax or CosFace, not {self.type!r}")
        if not self.scale > 0:
            raise ValueError(f"loss.scale must be above 0, not {self.scale}")
        if not 0 <= self.margin < 1:
            raise ValueError(f"loss.margin must lie in [0, 1), not {self.margin}")


class Head(nn.Module):
    """Embeddings float32 ``[N, dim]`` to logits ``[N, num_classes]``, for cross-entropy over them."""

    bias: nn.Parameter | None

    def __init__(self, num_classes: int, dim: int, loss: LossConfig | None = None) -> None:
        super().__init__()
        if num_classes < 1 or dim < 1:
            raise ValueError(
                f"a head needs at least one class and one dimension, not {num_classes} and {dim}"
            )
        self.loss = loss or LossConfig()
        self.weight = nn.Parameter(torch.empty(num_classes, dim))
        nn.init.normal_(self.weight, std=dim**-0.5)
        if self.loss.type == "Softmax":
            self.bias = nn.Parameter(torch.zeros(num_classes))
        else:
            self.register_parameter("bias", None)

    def forward(self, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits; with ``labels`` (int64 ``[N]``) CosFace takes its margin off the true class."""
        if self.loss.type == "Softmax":
            return functional.linear(embeddings, self.weight, self.bias)
        cosines = functional.linear(functional.normalize(embeddings), functional.normalize(self.weight))
        if labels is not None:
            cosines = cosines - self.loss.margin * functional.one_hot(labels, cosines.shape[1]).to(
                cosines.dtype
            )
        return self.loss.scale * cosines


def initial_head(num_classes: int, dim: int, seed: bytes) -> NDArray[np.float32]:
    """The class weights that every silo starts from: float32 ``[num_classes, dim]``, rows of unit length on
    average.

    A function of its arguments alone: the generator is PCG64 seeded with SHA-256 of the seed, independent of
    torch's version and state. The bias of a softmax head starts at zero.
    """
    digest = hashlib.sha256(b"fedgestalt initial head v1\0" + seed).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    weights: NDArray[np.float64] = generator.standard_normal((num_classes, dim)) / np.sqrt(dim)
    return weights.astype(np.float32)


def load_initial_head(head: Head, seed: bytes) -> None:
    """Set a head's weights to ``initial_head`` and its bias, if any, to zero."""
    classes, dim = head.weight.shape
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(initial_head(classes, dim, seed)))
        if head.bias is not None:
            head.bias.zero_()
