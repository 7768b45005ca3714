"""What the hub needs beside its cluster: the exchange, with its boards, tasks and releases.

`hub.exchange` speaks with a real one; tests put a simulated one here. Every call may raise `ExchangeUnavailable`:
nothing is known then, and what was asked may or may not have happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..api.release import Release
from ..api.task import SiloTask
from ..plan.release_status import EpochState
from ..plan.types import BaseRelease, Decision, Entry, TaskState


class ExchangeUnavailable(Exception):  # noqa: N818
    """The exchange did not answer, or not in time."""


class DecisionTaken(Exception):  # noqa: N818
    """Another decision stands in the slot already, or the round has ended: read the board again."""


@dataclass(frozen=True, slots=True)
class Presence:
    """What the exchange knows of a silo. Unix seconds of its clock; `last_heard` is None before its first word."""

    last_heard: float | None
    serving_since: float
    version: str = ""
    accepted: bool = True
    """Whether the exchange lets it in."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Uids of rounds whose board or tasks changed, and the revision to ask from next time.

    `everything` says that the exchange could not tell: treat every round as changed.
    """

    rounds: frozenset[str]
    revision: int
    everything: bool = False


class HubExchange(Protocol):
    """The exchange as the hub's operator sees it. Safe for threads."""

    def entries(self, round_uid: str) -> tuple[Entry, ...]:
        """The whole board of a round as it stands now, in its order; empty for an unknown round."""
        ...

    def computation(self, round_uid: str) -> Mapping[str, Any] | None:
        """The frozen computation (JSON); None before it is on the board."""
        ...

    def silos(self) -> Mapping[str, Presence]:
        """Presence of every silo that the exchange knows."""
        ...

    def tasks(self, round_uid: str) -> Mapping[str, TaskState]:
        """A round's tasks as the sites last reported them, by name."""
        ...

    def rounds(self) -> frozenset[str]:
        """Uids of all rounds that have tasks at the exchange."""
        ...

    def forget(self, round_uid: str) -> None:
        """A round is gone: take its tasks back, and free what is remembered of it. Its board stays. Repeatable."""
        ...

    def changes(self, after: int, wait: float) -> Changes:
        """What changed after revision `after`; waits up to `wait` seconds (at most 25) for the first change."""
        ...

    def post(self, round_uid: str, decision: Decision, blobs: Sequence[bytes | Path] = ()) -> None:
        """Sign and post a decision; `blobs` (bytes or files) are attached after the decision's own. Repeatable.

        Raises:
            DecisionTaken: something else stands in its slot, or the round is over.
        """
        ...

    def put_tasks(self, tasks: Sequence[SiloTask]) -> None:
        """Give silos their tasks; those that are there already stay as they are.

        Raises:
            DecisionTaken: the round is over: another process may have taken its tasks back already.
        """
        ...

    def blob(self, round_uid: str, digest: str) -> bytes | None:
        """A blob by its digest (hexadecimal), verified; None: it never came, or was deleted."""
        ...

    def drop(self, round_uid: str, digests: Sequence[str]) -> None:
        """Delete blobs (hexadecimal digests). Absent ones are as good as deleted."""
        ...

    def base(self, spec: Mapping[str, Any]) -> BaseRelease | None:
        """The release that a round's spec names; None if it names none, or the hub does not have it."""
        ...

    def base_blobs(self, base: BaseRelease) -> Sequence[bytes | Path]:
        """What newcomers need of a base release, in the order in which the computation's message names it."""
        ...

    def base_vocabulary(self, base: BaseRelease) -> bytes | None:
        """The vocabulary that is kept beside a base release; None if it is not."""
        ...

    def published(self, digest: str) -> bool:
        """Whether the release (hexadecimal digest of its manifest) is kept beyond its round and its gallery served."""
        ...

    def publish(self, round_uid: str, dataset: str, digest: str, vocabulary: bytes) -> Release:
        """Keep a release beyond its round and serve its gallery; returns the resource to create. Repeatable.

        `dataset` is the contract name in the round's computation: the round's resource may be gone.
        An empty `vocabulary` stands for the one that the round began with.
        """
        ...

    def epoch(self, epoch: str) -> EpochState | None:
        """An epoch (hexadecimal) as the query service knows it; None if it answers for it no longer."""
        ...

    def discover(self, epoch: str) -> None:
        """Have the query service look for clusters of undiagnosed cases anew. Repeatable.

        An epoch that ended meanwhile, or whose rows cannot be compared, has none.
        """
        ...
