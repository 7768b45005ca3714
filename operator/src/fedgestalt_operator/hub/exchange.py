"""The real exchange behind the hub's port: boards, tasks, presence, releases."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import (
    BoardRewoundError,
    Code,
    ExchangeError,
    PositionDamagedError,
    QuotaExceededError,
    RefusedError,
    RoundOverError,
    SlotTakenError,
    TaskTakenError,
)
from fedgestalt.exchange.link import NewTask
from fedgestalt.exchange.tokens import JOB_LIFETIME, Role, mint
from fedgestalt.secagg.messages import HUB, Kind, Slot, sign

from ..api.release import Accuracy, Release, release_document, release_of
from ..api.task import SiloTask, TaskPhase, task_document
from ..plan.handover import causes_of
from ..plan.release_status import EpochState
from ..plan.types import BaseRelease, Decision, Entry, TaskState
from .accuracies import accuracies
from .boards import Boards
from .clock import ExchangeClock
from .ports import Changes, DecisionTaken, ExchangeUnavailable, Presence
from .releases import HubReleases
from .vocabulary import is_synthetic

P = ParamSpec("P")
T = TypeVar("T")

_FOR_GOOD: Final = (Code.MESSAGE_INVALID, Code.SIGNATURE_INVALID, Code.TOO_LARGE)
"""Refused once, refused for ever."""


def _mapped(call: Callable[P, T]) -> Callable[P, T]:
    """An exchange that is away or full is one error to everybody above."""

    @functools.wraps(call)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except (BoardRewoundError, PositionDamagedError, QuotaExceededError, TaskTakenError):
            raise  # no wait mends these
        except ExchangeError as error:
            if isinstance(error, RefusedError) and error.code in _FOR_GOOD:
                raise
            # Away, full, behind a proxy that answers for it, of another clock: nothing is known, and it may pass.
            raise ExchangeUnavailable(str(error)) from error

    return wrapped


class RealExchange:
    """See `ports.HubExchange`."""

    def __init__(
        self,
        client: BoardClient,
        epochs: EpochClient,
        key: Identity,
        releases: Path,
        *,
        looks: EpochClient | None = None,
        clock: ExchangeClock | None = None,
    ) -> None:
        """
        Args:
            client: the hub's client.
            epochs: the hub's client of the query service.
            key: signs decisions; the sites have pinned its public half.
            releases: the folder in which releases are kept.
            looks: for questions that must not take as long as a publication; None: `epochs`.
            clock: learns what time it is at the exchange.
        """
        self._client, self._key, self._clock = client, key, clock or ExchangeClock()
        self._boards = Boards(client)
        self._releases = HubReleases(releases, client, epochs, looks or epochs)

    @_mapped
    def entries(self, round_uid: str) -> tuple[Entry, ...]:
        """See `HubExchange.entries`."""
        return tuple(self._boards.read(round_uid).entries)

    @_mapped
    def wait(self, round_uid: str, seconds: float) -> None:
        """Return at the first news on a round's board, or after some seconds."""
        self._boards.read(round_uid, seconds)

    def computation(self, round_uid: str) -> Mapping[str, Any] | None:
        """See `HubExchange.computation`."""
        board = self._boards.known(round_uid)
        return (board or _mapped(self._boards.read)(round_uid)).computation

    @_mapped
    def silos(self) -> Mapping[str, Presence]:
        """See `HubExchange.silos`."""
        asked = self._clock.own()
        found = self._client.silos()
        if found:
            self._clock.learn(asked, found[0].now)
        return {
            silo.name: Presence(silo.last_heard, silo.serving_since, silo.version, silo.accepted)
            for silo in found
        }

    @_mapped
    def tasks(self, round_uid: str) -> Mapping[str, TaskState]:
        """See `HubExchange.tasks`."""
        return {task.name: _state(task.status) for task in self._client.round_tasks(round_uid)}

    @_mapped
    def rounds(self) -> frozenset[str]:
        """See `HubExchange.rounds`."""
        return self._client.rounds()

    @_mapped
    def changes(self, after: int, wait: float) -> Changes:
        """See `HubExchange.changes`."""
        found = self._client.changes(after, wait)
        return Changes(frozenset(found.rounds), found.revision, found.everything)

    @_mapped
    def post(self, round_uid: str, decision: Decision, blobs: Sequence[bytes | Path] = ()) -> None:
        """See `HubExchange.post`."""
        digests = [self._upload(round_uid, blob) for blob in (*decision.blobs, *blobs)]
        at = (decision.enrolment, decision.member, decision.t, decision.attempt)
        slot = Slot(round_uid, *at, Kind(decision.kind), HUB)
        try:
            self._client.post(sign(slot, dict(decision.body), digests, self._key).encode())
        except (SlotTakenError, RoundOverError) as error:
            raise DecisionTaken(str(slot)) from error

    def _upload(self, round_uid: str, blob: bytes | Path) -> str:
        if isinstance(blob, Path):
            with blob.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            digest = hashlib.sha256(blob).hexdigest()
        self._client.upload(round_uid, digest, blob)
        return digest

    @_mapped
    def put_tasks(self, tasks: Sequence[SiloTask]) -> None:
        """See `HubExchange.put_tasks`."""
        if not tasks:
            return
        wanted = [NewTask(task.silo, task.metadata.name, task_document(task)["spec"]) for task in tasks]
        try:
            self._client.put_tasks(tasks[0].round_uid, wanted)
        except RoundOverError as error:
            raise DecisionTaken(f"tasks of round {tasks[0].round_uid}") from error

    @_mapped
    def blob(self, round_uid: str, digest: str) -> bytes | None:
        """See `HubExchange.blob`."""
        try:
            return self._client.download(round_uid, digest)
        except RefusedError as error:
            if error.code in (Code.BLOB_UNKNOWN, Code.BLOB_GONE):
                return None
            raise

    @_mapped
    def drop(self, round_uid: str, digests: Sequence[str]) -> None:
        """See `HubExchange.drop`."""
        for digest in digests:
            self._releases.delete_blob(round_uid, digest)

    def base(self, spec: Mapping[str, Any]) -> BaseRelease | None:
        """See `HubExchange.base`."""
        return self._releases.base(spec)

    def base_blobs(self, base: BaseRelease) -> Sequence[bytes | Path]:
        """See `HubExchange.base_blobs`."""
        return self._releases.parts(base)

    def base_vocabulary(self, base: BaseRelease) -> bytes | None:
        """See `HubExchange.base_vocabulary`."""
        return self._releases.vocabulary(base.digest)

    def published(self, digest: str) -> bool:
        """See `HubExchange.published`."""
        return self._releases.published(digest)

    @_mapped
    def publish(self, round_uid: str, dataset: str, digest: str, vocabulary: bytes) -> Release:
        """See `HubExchange.publish`."""
        board = self._boards.read(round_uid)
        if not vocabulary:  # its ConfigMap is gone; what the round began with lies beside the computation
            vocabulary = self._client.download(round_uid, board.messages[0].blobs[1])
        manifest = self._releases.publish(round_uid, digest, board.messages, vocabulary)
        released = next(e for e in board.entries if e.kind == Kind.RELEASED)
        release = release_of(
            manifest,
            digest=digest,
            signers=released.body["signers"],
            dataset=dataset,
            synthetic=is_synthetic(vocabulary),
            evaluation=self._evaluation(board.entries, manifest),
        )
        self._client.put_release(release.metadata.name, release_document(release)["spec"])
        self._releases.end_older(digest)  # last: nobody is sent to a release that is not there yet
        return release

    def _evaluation(self, entries: Sequence[Entry], manifest: Mapping[str, Any]) -> tuple[Accuracy, ...]:
        stated = manifest.get("evaluation")
        if stated is None:
            return ()
        tables = (bytes(e.body["table"]) for e in entries if e.kind == Kind.SCORE)
        table = next(t for t in tables if hashlib.sha256(t).hexdigest() == stated["digest"])
        return accuracies(json.loads(table)["table"])

    @_mapped
    def epoch(self, epoch: str) -> EpochState | None:
        """See `HubExchange.epoch`."""
        return self._releases.epoch(epoch)

    @_mapped
    def discover(self, epoch: str) -> None:
        """See `HubExchange.discover`."""
        self._releases.discover(epoch)

    @_mapped
    def forget(self, round_uid: str) -> None:
        """See `HubExchange.forget`."""
        self._client.delete_round_tasks(round_uid)
        self._boards.forget(round_uid)

    def job_token(self, round_uid: str) -> str:
        """A token with which the round's Jobs reach its board, valid for `JOB_LIFETIME` seconds."""
        public = self._key.public
        return mint(
            self._key, role=Role.JOB, name=HUB, hub_key=public, round_uid=round_uid, lifetime=JOB_LIFETIME
        )


def _state(status: Mapping[str, Any]) -> TaskState:
    """What a site says of a task. It is a stranger's JSON: what makes no sense must not stop the others' round."""
    try:
        phase = TaskPhase(status.get("phase", TaskPhase.PENDING))
        fraction = float(status.get("fraction", 0.0))
    except (ValueError, TypeError):
        return TaskState(TaskPhase.PENDING, "StatusInvalid", message="the site's report cannot be read")
    reason, message = str(status.get("reason", ""))[:64], str(status.get("message", ""))[:1024]
    if not 0.0 <= fraction <= 1.0:  # not a number, too
        fraction = 0.0
    return TaskState(phase, reason, fraction, message, causes_of(status))
