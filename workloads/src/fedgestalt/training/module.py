"""A trainable member as one module, and its tensors as the arrays that travel."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedgestalt.models.extractor import Extractor
from fedgestalt.models.heads import Head, LossConfig, load_initial_head
from fedgestalt.models.registry import EXTRACTORS, build_extractor
from fedgestalt.models.weights import load_initial_weights

from .config import BatchNorm, Classifier, Member, TrainingConfig
from .fields import ConfigError
from .naming import is_head, is_statistic, ordered
from .seeds import start_seed

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class MemberModule(nn.Module):
    """Extractor and head. Images float32 [N, 3, 112, 112] and labels int64 [N] to logits [N, classes]."""

    def __init__(self, extractor: Extractor, head: Head) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head

    def fix_head(self) -> None:
        """Take the head out of training, so that it neither moves nor travels.

        Silos that share no syndrome would each draw their own to wherever their own head happens to lie. Towards public
        vectors of the whole vocabulary they pull the shared extractor to one common place per syndrome (a synthetic, fixed
        classifier: Li et al., ICCV 2023, arXiv 2303.10058; FedBABU: Oh et al., ICLR 2022, arXiv 2106.06042).
        """
        self.head.requires_grad_(False)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Logits, with the margin of the loss taken off the true class."""
        logits: Tensor = self.head(self.extractor(images), labels)
        return logits


def build_member(member: Member, classes: int, public_seed: bytes) -> MemberModule:
    """The member at t = 0: initial weights (or a seeded random network) and a seeded head.

    A function of its arguments and the weights file alone. Torch's global generator is left as it was.

    Raises:
        InitialWeightsMissing, WeightsMismatch: see `fedgestalt.models.weights`.
        ConfigError: for an unknown extractor.
    """
    if member.extractor not in EXTRACTORS:
        raise ConfigError(
            f"training.members[{member.name}].extractor",
            f"is {member.extractor!r}",
            f"write one of {', '.join(EXTRACTORS)}",
        )
    seed = start_seed(public_seed, member.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(seed[:8], "big") >> 1)
        extractor = build_extractor(member.extractor)
        loss = LossConfig(member.loss.type.value, member.loss.scale, member.loss.margin)
        head = Head(classes, extractor.embedding_dim, loss)
    if member.initial_weights is not None:
        load_initial_weights(extractor, member.initial_weights.name, member.initial_weights.digest)
    load_initial_head(head, seed)
    return MemberModule(extractor, head)


def travelling(config: TrainingConfig, module: nn.Module) -> tuple[str, ...]:
    """Names of the tensors that travel, in canonical order.

    Trainable parameters, less a Local head (a Fixed one is not trainable); float BatchNorm statistics unless Frozen;
    never counters.
    """
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    if config.batch_norm is BatchNorm.AVERAGE:
        names += [name for name, _ in module.named_buffers() if is_statistic(name)]
    local_head = config.classifier is Classifier.LOCAL
    return ordered(name for name in names if not (local_head and is_head(name)))


def export(module: nn.Module, names: Sequence[str]) -> dict[str, Float32]:
    """Copies of the named tensors as float32 arrays."""
    state = module.state_dict()
    return {n: state[n].detach().to("cpu", torch.float32, copy=True).contiguous().numpy() for n in names}


def load(module: nn.Module, tensors: Mapping[str, Float32]) -> None:
    """Overwrite the named tensors in place.

    Raises:
        ValueError: for an unknown name or another shape.
    """
    state = module.state_dict()
    with torch.no_grad():
        for name in ordered(tensors):
            if name not in state or tuple(state[name].shape) != tensors[name].shape:
                raise ValueError(
                    f"{name} of the global model does not fit the module: the configurations differ"
                )
            state[name].copy_(torch.from_numpy(np.array(tensors[name], dtype=np.float32)))


def difference(local: Mapping[str, Float32], global_: Mapping[str, Float32]) -> dict[str, Float64]:
    """delta = local - global per tensor of `global_`, float64, in canonical order."""
    return {n: local[n].astype(np.float64) - global_[n].astype(np.float64) for n in ordered(global_)}


def set_training(module: nn.Module, batch_norm: BatchNorm) -> None:
    """Training mode, but for BatchNorm layers whose statistics are Frozen."""
    module.train()
    if batch_norm is BatchNorm.FROZEN:
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
