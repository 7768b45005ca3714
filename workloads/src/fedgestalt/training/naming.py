"""Names of a member's tensors: which belong to the extractor, which to the head, which are statistics.

A member's global model is a mapping from dotted names to float32 arrays. Names begin with `extractor.` or
`head.`; what follows is the module's own state-dict name (arcface_torch's for the iresnets).
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

EXTRACTOR = "extractor."
HEAD = "head."
_STATISTICS = (".running_mean", ".running_var")

T = TypeVar("T")


def is_statistic(name: str) -> bool:
    """Whether `name` is a BatchNorm running statistic: averaged, never stepped by a server optimizer."""
    return name.endswith(_STATISTICS)


def is_head(name: str) -> bool:
    """Whether `name` belongs to the classifier head."""
    return name.startswith(HEAD)


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """The canonical order of tensors on every wire and in every hash: sorted by UTF-8 bytes."""
    return tuple(sorted(names, key=lambda name: name.encode()))


def extractor_tensors(tensors: Mapping[str, T]) -> dict[str, T]:
    """The extractor's tensors of a member, under the names of its own state dict."""
    return {n.removeprefix(EXTRACTOR): t for n, t in tensors.items() if n.startswith(EXTRACTOR)}
