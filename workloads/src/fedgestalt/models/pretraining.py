"""Starting weights: an extractor learns to see HPO terms, or to tell people apart, on invented syndromes.

The analogue of GestaltMatcher's start from a face-recognition network: general knowledge of faces, none of
the syndromes that the federation learns. Terms are learnt with binary cross-entropy per term, identities with
CosFace.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fedgestalt.models.extractor import Extractor
from fedgestalt.models.heads import Head, LossConfig

Objective = Literal["terms", "identity", "both"]
Augment = Callable[[NDArray[np.uint8], NDArray[np.intp], np.random.Generator], Tensor]


@dataclass(frozen=True)
class PretrainingConfig:
    """How the starting weights are learnt.

    Attributes:
        objective: ``terms`` (multi-label over HPO terms), ``identity`` (one class per patient) or ``both``,
        the sum.
        epochs: passes over the photos.
        batch: photos per step.
        learning_rate: AdamW's peak, after one epoch of linear warm-up, then half a cosine down to zero.
        weight_decay: AdamW's.
        seed: of weights, order and augmentation; with one thread the result is the same to the bit on one
        machine.
    """

    objective: Objective = "terms"
    epochs: int = 15
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 5e-4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in get_args(Objective):
            allowed = ", ".join(get_args(Objective))
            raise ValueError(f"objective must be one of {allowed}, not {self.objective!r}")
        if self.epochs < 1 or self.batch < 2:
            raise ValueError(f"needs at least 1 epoch and batches of 2, not {self.epochs} and {self.batch}")


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to: its number from 1, mean loss, and photos trained per second."""

    epoch: int
    loss: float
    images_per_second: float


class _Task(nn.Module):
    """The objective's heads and targets; both losses are means over photos, in nats."""

    def __init__(
        self, dim: int, severity: NDArray[np.float32], people: NDArray[np.integer], objective: Objective
    ) -> None:
        super().__init__()
        self.terms: nn.Linear | None = None
        self.people: Head | None = None
        if objective in ("terms", "both"):
            seen = (severity > 0).any(axis=0)
            self.terms = nn.Linear(dim, int(seen.sum()))
            self.present = torch.from_numpy((severity[:, seen] > 0).astype(np.float32))
        if objective in ("identity", "both"):
            names, labels = np.unique(people, return_inverse=True)
            self.people = Head(len(names), dim, LossConfig("CosFace", scale=20.0, margin=0.1))
            self.labels = torch.from_numpy(labels.astype(np.int64))

    def loss(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Summed over terms, so that a photo's terms together weigh about as much as its identity."""
        total = embeddings.new_zeros(())
        if self.terms is not None:
            logits = self.terms(embeddings)
            entropy = functional.binary_cross_entropy_with_logits(
                logits, self.present[index], reduction="sum"
            )
            total = total + entropy / len(index)
        if self.people is not None:
            labels = self.labels[index]
            total = total + functional.cross_entropy(self.people(embeddings, labels), labels)
        return total


def pretrain(
    extractor: Extractor,
    images: NDArray[np.uint8],
    severity: NDArray[np.float32],
    people: NDArray[np.integer],
    config: PretrainingConfig,
    augment: Augment,
    after_epoch: Callable[[EpochReport], None],
) -> None:
    """Train an extractor in place.

    Args:
        extractor: with any weights; they are the start.
        images: aligned crops, uint8 ``[N, 112, 112, 3]``.
        severity: ``[N, terms]``, above 0 where the term is present in the photo.
        people: integers ``[N]``, who is shown.
        config: the recipe.
        augment: makes the normalised batch ``images[index]``, float32 ``[B, 3, 112, 112]``.
        after_epoch: called after each epoch; the place to save the extractor.

    Raises:
        ValueError: lengths differ, too few photos for a batch, or a loss that is not finite.
    """
    if not len(images) == len(severity) == len(people) or len(images) < config.batch:
        lengths = f"{len(images)} images, {len(severity)} rows of terms, {len(people)} people"
        raise ValueError(f"pretraining needs equally many of each and at least one batch: {lengths}")
    torch.manual_seed(config.seed)
    task = _Task(extractor.embedding_dim, severity, people, config.objective)
    extractor.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = [p for p in (*extractor.parameters(), *task.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    rng = np.random.default_rng([config.seed, 0x9E37])
    steps = len(images) // config.batch
    for epoch in range(config.epochs):
        extractor.train()
        order = rng.permutation(len(images))
        started, total = time.perf_counter(), 0.0
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _multiplier(epoch + step / steps, config.epochs)
            index = order[step * config.batch : (step + 1) * config.batch]
            loss = task.loss(extractor(augment(images, index, rng)), torch.from_numpy(index))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise ValueError(f"the loss is not finite in epoch {epoch + 1}: lower the learning rate")
        speed = steps * config.batch / (time.perf_counter() - started)
        after_epoch(EpochReport(epoch + 1, total / steps, speed))


def _multiplier(epoch: float, epochs: int) -> float:
    if epoch < 1:
        return max(epoch, 0.01)
    return 0.5 * (1 + math.cos(math.pi * (epoch - 1) / max(epochs - 1, 1)))
