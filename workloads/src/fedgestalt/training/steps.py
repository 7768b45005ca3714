"""One optimizer step of local training: class-weighted loss, proximal term, Adam or AdamW."""

from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .bounds import BETA1, BETA2, EPSILON
from .config import Member, OptimizerType
from .naming import HEAD


def class_weights(labels: NDArray[np.int64], classes: int) -> Tensor:
    """n / (present * n_c) for each class c that this silo has, 0 for the others: float32 [classes].

    From the silo's own labels: counts of the whole federation would have to be disclosed first.
    """
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    weights = np.zeros(classes)
    weights[present] = len(labels) / (present.sum() * counts[present])
    return torch.from_numpy(weights.astype(np.float32))


def build_optimizer(module: nn.Module, member: Member) -> torch.optim.Adam:
    """Adam or AdamW over the trainable parameters in two groups: extractor and head."""
    settings = member.optimizer
    parameters = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in parameters if not n.startswith(HEAD)], "base": settings.learning_rate},
        {"params": [p for n, p in parameters if n.startswith(HEAD)], "base": settings.head_learning_rate},
    ]
    kind = torch.optim.AdamW if settings.type is OptimizerType.ADAMW else torch.optim.Adam
    return kind(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(BETA1, BETA2),
        eps=EPSILON,
        weight_decay=settings.weight_decay,
    )


class Stepper:
    """Takes optimizer steps on a module (wrapped for several workers or not)."""

    def __init__(
        self, module: nn.Module, optimizer: torch.optim.Adam, weights: Tensor, device: torch.device
    ) -> None:
        """`module`: images and labels to logits; `weights`: loss weight per class, float32 [classes]."""
        self._module = module
        self._optimizer = optimizer
        self._weights = weights.to(device)
        self._device = device

    def step(self, images: Tensor, labels: Tensor, rate: float, pull: "ProximalPull | None" = None) -> Tensor:
        """One step at `rate` times the base learning rates; returns the loss, a detached scalar.

        On CUDA the forward pass runs in bfloat16; on a CPU always in float32.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = group["base"] * rate
        images, labels = images.to(self._device), labels.to(self._device)
        mixed = torch.autocast("cuda", torch.bfloat16) if self._device.type == "cuda" else nullcontext()
        with mixed:
            logits = self._module(images, labels)
        loss = functional.cross_entropy(logits.float(), labels, weight=self._weights)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if pull is not None:
            pull.add_to_gradients()
        self._optimizer.step()
        return loss.detach()


class ProximalPull:
    """FedProx (arXiv 1812.06127): the gradient mu (w - w_t) of mu/2 ||w - w_t||^2, on what travels."""

    def __init__(self, module: nn.Module, global_: Mapping[str, NDArray[np.float32]], mu: float) -> None:
        """Anchors the parameters named in `global_` at its values."""
        self._mu = mu
        self._anchored = [
            (p, torch.from_numpy(np.array(global_[n])).to(p.device))
            for n, p in module.named_parameters()
            if n in global_ and p.requires_grad
        ]

    def add_to_gradients(self) -> None:
        """Add the term; call between backward and the optimizer's step."""
        for parameter, anchor in self._anchored:
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - anchor, alpha=self._mu)
