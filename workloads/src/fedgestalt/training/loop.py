"""Local training of one member: E epochs per communication round, optimizer state kept across rounds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .augment import make_batch
from .checkpoint import Checkpoint
from .config import Classifier, Member, TrainingConfig
from .errors import DataError, NonFiniteError
from .group import Group
from .module import Float32, MemberModule, build_member, export, load, set_training, travelling
from .naming import ordered
from .optimizer_state import moments, restore_moments
from .schedule import multiplier
from .seeds import generator
from .steps import ProximalPull, Stepper, build_optimizer, class_weights

Progress = Callable[[float, str], None]
_MODEL = "model/"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Aligned photos with labels: uint8 [N, 112, 112, 3] and int64 [N], indices into `classes`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def own_classes(self) -> "TrainingData":
        """The same photos with only the classes that occur, for a Local head."""
        present = np.unique(self.labels)
        labels = np.searchsorted(present, self.labels).astype(np.int64)
        return TrainingData(self.images, labels, tuple(self.classes[i] for i in present))


class MemberTrainer:
    """Trains one member on one silo's photos (or on everybody's, for the centralised baseline)."""

    def __init__(
        self,
        config: TrainingConfig,
        member: Member,
        data: TrainingData,
        public_seed: bytes,
        seed_of_round: Callable[[int], bytes],
        group: Group | None = None,
    ) -> None:
        """
        Args:
            config: the whole training section.
            member: the one to train.
            data: photos and labels; a Local head keeps only the classes that occur in them.
            public_seed: common to all silos; the start of the model and a Fixed head follow from it.
            seed_of_round: communication round t to 32 secret bytes, see `seeds.round_seed`.
            group: the workers of this silo.

        Raises:
            DataError: where the photos cannot be trained on.
        """
        self.config, self.member = config, member
        self._data = data.own_classes() if config.classifier is Classifier.LOCAL else data
        self._group = group or Group()
        self._seed_of_round = seed_of_round
        self._check_data()
        module = build_member(member, len(self._data.classes), public_seed)
        if config.classifier is Classifier.FIXED:
            module.fix_head()
        self.module: MemberModule = module.to(self._group.device)
        self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.names = travelling(config, self.module)
        self._optimizer = build_optimizer(self.module, member)
        weights = class_weights(self._data.labels, len(self._data.classes))
        self._stepper = Stepper(self._group.wrap(self.module), self._optimizer, weights, self._group.device)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the photos; what is left over waits for the next epoch's order."""
        return max(1, len(self._data.labels) // self.member.batch_size)

    @property
    def steps_per_round(self) -> int:
        """Optimizer steps of one communication round, capped by maxSteps."""
        return min(self.config.local_epochs * self.steps_per_epoch, self.member.max_steps)

    def export(self) -> dict[str, Float32]:
        """The travelling tensors as they are now."""
        return export(self.module, self.names)

    def load(self, tensors: Mapping[str, Float32]) -> None:
        """Set the travelling tensors.

        Raises:
            ValueError: where they are not this configuration's.
        """
        if set(tensors) != set(self.names):
            odd = ", ".join(sorted(set(tensors) ^ set(self.names))[:5])
            raise ValueError(f"the global model of {self.member.name} and this configuration differ in {odd}")
        load(self.module, tensors)

    def synchronise(self) -> None:
        """Give every worker rank 0's model and moments."""
        state = self.module.state_dict()
        self._group.tensors([state[name] for name in ordered(state)])
        self._group.tensors(moments(self.module, self._optimizer).values())

    def train(self, t: int, progress: Progress | None = None) -> float:
        """Train communication round `t` (1, 2, ...) from the model as it is; returns the mean loss.

        Raises:
            NonFiniteError: where a loss was NaN or infinite.
        """
        seed = self._seed_of_round(t)
        rng = generator(seed)
        torch.manual_seed(int.from_bytes(seed[:8], "big") >> 1)  # for layers that draw, such as dropout
        set_training(self.module, self.config.batch_norm)
        mu = self.config.strategy.proximal
        pull = ProximalPull(self.module, self.export(), mu) if mu > 0 else None
        total, steps = torch.zeros((), device=self._group.device), self.steps_per_round
        order = np.empty(0, dtype=np.int64)
        for step in range(steps):
            epoch, position = divmod(step, self.steps_per_epoch)
            if position == 0:
                order = rng.permutation(len(self._data.labels))
            batch = self._own_share(order, position)
            images = make_batch(self._data.images, batch, self.config.augmentation, rng)
            labels = torch.from_numpy(self._data.labels[batch])
            done = (t - 1) * self.config.local_epochs + epoch + (position + 0.5) / self.steps_per_epoch
            rate = multiplier(self.config.schedule, done, self.config.epochs)
            total += self._stepper.step(images, labels, rate, pull)
            if progress is not None:
                progress((step + 1) / steps, f"epoch {epoch + 1}/{self.config.local_epochs}")
        mean = float(total) / steps
        if not math.isfinite(mean):
            raise NonFiniteError(
                f"member {self.member.name}, communication round {t}: the loss is not finite; "
                "lower optimizer.learningRate or look for damaged photos"
            )
        return mean

    def checkpoint(self, t: int) -> Checkpoint:
        """The local state after `train(t)`."""
        model = {f"{_MODEL}{name}": tensor for name, tensor in self.module.state_dict().items()}
        return Checkpoint(t, model | moments(self.module, self._optimizer))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put a local state back: the model, the head and the optimizer's moments."""
        tensors = dict(checkpoint.tensors)
        self.module.load_state_dict(
            {n.removeprefix(_MODEL): tensor for n, tensor in tensors.items() if n.startswith(_MODEL)}
        )
        restore_moments(self.module, self._optimizer, tensors)

    def _own_share(self, order: NDArray[np.int64], position: int) -> NDArray[np.int64]:
        """This worker's part of a batch: every size-th photo, equally many on every worker."""
        size = min(self.member.batch_size, len(order))
        size -= size % self._group.size
        start = position * self.member.batch_size
        return order[start : start + size][self._group.rank :: self._group.size]

    def _check_data(self) -> None:
        images, labels = self._data.images, self._data.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != len(labels):
            raise DataError(
                f"photos must be uint8 [N, H, W, 3] with N labels, not {images.shape}, {labels.shape}"
            )
        least = 2 * self._group.size
        if len(labels) < least or self.member.batch_size < least:
            raise DataError(
                f"{len(labels)} photos and batches of {self.member.batch_size}: BatchNorm needs 2 photos "
                f"per worker and batch; add photos or lower resources.workers ({self._group.size})"
            )
        if len(self._data.classes) < 2:
            raise DataError("a classifier needs at least two syndromes among this silo's training photos")
