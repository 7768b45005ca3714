"""Extractors by the name that a FederationRound gives them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fedgestalt.models.extractor import Extractor
from fedgestalt.models.iresnet import IResNet
from fedgestalt.models.mobilefacenet import MobileFaceNet
from fedgestalt.models.resnet_s import ResNetS
from fedgestalt.models.sface import SFace

_BUILDERS: dict[str, Callable[..., Extractor]] = {
    "iresnet18": partial(IResNet, 18),
    "iresnet50": partial(IResNet, 50),
    "iresnet100": partial(IResNet, 100),
    "mobilefacenet": MobileFaceNet,
    "resnet_s16": ResNetS,
    "sface": SFace,
}
EXTRACTORS: tuple[str, ...] = tuple(sorted(_BUILDERS))


def build_extractor(name: str, **options: object) -> Extractor:
    """Make an extractor with fresh random weights.

    Args:
        name: one of ``EXTRACTORS``.
        options: keyword arguments of the extractor's class, such as ``embedding_dim``.

    Raises:
        ValueError: the name is unknown, or the extractor takes no such option.
    """
    if name not in _BUILDERS:
        raise ValueError(f"unknown extractor {name!r}: choose one of {', '.join(EXTRACTORS)}")
    try:
        return _BUILDERS[name](**options)
    except TypeError as error:
        raise ValueError(f"extractor {name!r} does not take {', '.join(options)}: {error}") from error
