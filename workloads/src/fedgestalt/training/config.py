"""The `training` section of a FederationRound as typed values; `parsing.parse_training` reads the JSON.

Defaults are the published settings of federated GestaltMatcher
(arXiv 2509.10635): Adam with learning rate 5e-4 for the network and 1e-3 for the classifier, batch 64,
50 epochs with an aggregation after every 5, class-weighted cross-entropy, the whole head averaged.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class OptimizerType(StrEnum):
    """Adam couples weight decay with the gradient (L2); AdamW decays the weights directly."""

    ADAM = "Adam"
    ADAMW = "AdamW"


class LossType(StrEnum):
    """Cross-entropy on a linear head, or on CosFace's scaled cosines with a margin (arXiv 1801.09414)."""

    SOFTMAX = "Softmax"
    COSFACE = "CosFace"


class ScheduleType(StrEnum):
    """The learning rate over the whole run."""

    CONSTANT = "Constant"
    COSINE = "Cosine"
    TRAPEZOID = "Trapezoid"


class Classifier(StrEnum):
    """What becomes of the head. Where labels do not overlap it must not travel: see the security notes.

    Shared: trained and averaged. Local: each silo trains one over its own classes and keeps it. Fixed: every silo has the
    same public class vectors over the whole vocabulary, which are never trained and never sent.
    """

    SHARED = "Shared"
    LOCAL = "Local"
    FIXED = "Fixed"


class BatchNorm(StrEnum):
    """Average: running statistics travel as deltas. Frozen: they stay as in the initial weights."""

    AVERAGE = "Average"
    FROZEN = "Frozen"


class StrategyType(StrEnum):
    """The federated optimizer; one file each in `strategies/`."""

    FEDAVG = "FedAvg"
    FEDPROX = "FedProx"
    FEDAVGM = "FedAvgM"
    FEDADAM = "FedAdam"


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Weights to start from, found by name or path and checked by digest (`sha256:<64 hex>`)."""

    name: str
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Client optimizer. Rates are per step; betas are (0.9, 0.999), epsilon 1e-8: the bound needs them."""

    type: OptimizerType = OptimizerType.ADAM
    learning_rate: float = 5e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 5e-5


@dataclass(frozen=True, slots=True)
class Loss:
    """Training loss. `scale` and `margin` apply to CosFace only."""

    type: LossType = LossType.SOFTMAX
    scale: float = 20.0
    margin: float = 0.1


@dataclass(frozen=True, slots=True)
class Member:
    """One network of the ensemble. `max_steps` caps the optimizer steps of one communication round."""

    name: str
    extractor: str
    initial_weights: InitialWeights | None = None
    trainable: bool = True
    batch_size: int = 64
    max_steps: int = 1000
    optimizer: Optimizer = field(default_factory=Optimizer)
    loss: Loss = field(default_factory=Loss)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning-rate schedule in epochs of the whole run (communicationRounds x localEpochs).

    ``decay_epochs`` belongs to the trapezoid; None: a fifth of the run.
    """

    type: ScheduleType = ScheduleType.CONSTANT
    warmup_epochs: float = 0.0
    decay_epochs: float | None = None


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """A union: `type` says which of the parameters count."""

    type: StrategyType = StrategyType.FEDAVG
    mu: float = 0.01
    learning_rate: float = 1.0
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    @property
    def proximal(self) -> float:
        """FedProx's mu where it applies, else 0."""
        return self.mu if self.type is StrategyType.FEDPROX else 0.0


@dataclass(frozen=True, slots=True)
class Resources:
    """Compute inside one silo. `workers` 0 is Ray Train's local mode, in the trainer's own process."""

    workers: int = 0
    threads: int = 1
    gpus_per_worker: int = 0


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes of each training photo: shift in pixels, brightness and noise in units of [-1, 1]."""

    flip: bool = True
    shift: int = 4
    brightness: float = 0.2
    noise: float = 0.05


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """The whole section."""

    members: tuple[Member, ...]
    schedule: Schedule = field(default_factory=Schedule)
    communication_rounds: int = 10
    local_epochs: int = 5
    strategy: StrategyConfig = field(default_factory=StrategyConfig)
    classifier: Classifier = Classifier.SHARED
    batch_norm: BatchNorm = BatchNorm.AVERAGE
    resources: Resources = field(default_factory=Resources)
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def epochs(self) -> int:
        """Epochs of the whole run; the baselines get the same number."""
        return self.communication_rounds * self.local_epochs

    @property
    def trainable(self) -> tuple[Member, ...]:
        """The members that are trained, in order."""
        return tuple(m for m in self.members if m.trainable)

    def member(self, name: str) -> Member:
        """The member called `name`; KeyError with the known names."""
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(f"no member {name!r}; there are {', '.join(m.name for m in self.members)}")
