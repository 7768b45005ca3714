"""The ensemble of a round: trained members with the global weights, frozen ones as they were given."""

from collections.abc import Mapping

from fedgestalt.models.ensemble import Ensemble
from fedgestalt.models.ensemble import Member as EnsembleMember
from fedgestalt.models.extractor import Extractor

from .config import TrainingConfig
from .module import Float32, build_member, load
from .naming import EXTRACTOR


def build_ensemble(
    config: TrainingConfig, trained: Mapping[str, Mapping[str, Float32]], public_seed: bytes
) -> Ensemble:
    """All members in the round's order, in evaluation mode.

    Args:
        config: the round's training section.
        trained: global tensors of the trained members by name; a member that is missing stays as it starts.
        public_seed: what the starts derive from.

    Raises:
        InitialWeightsMissing, WeightsMismatch: see `fedgestalt.models.weights`.
    """
    members = []
    for member in config.members:
        module = build_member(member, 2, public_seed)
        tensors = trained.get(member.name)
        if tensors is not None:
            load(module, {name: tensor for name, tensor in tensors.items() if name.startswith(EXTRACTOR)})
        extractor: Extractor = module.extractor
        extractor.eval()
        members.append(EnsembleMember(member.name, extractor))
    return Ensemble(members)
