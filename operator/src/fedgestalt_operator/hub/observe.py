"""Everything that the planner may know of a round, gathered from the cluster and the exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..api.release import release_name
from ..api.round import FederationRound
from ..kube.errors import NotFound
from ..kube.port import Cluster
from ..plan.kinds import Kind
from ..plan.types import BaseRelease, Entry, JobState, Observed
from .jobs import JobReader
from .ports import ExchangeUnavailable, HubExchange
from .silos import SiloDirectory
from .tables import with_tables
from .vocabulary import Vocabularies


@dataclass(frozen=True)
class Observer:
    """Looks at rounds of one namespace."""

    cluster: Cluster
    exchange: HubExchange
    silos: SiloDirectory
    jobs: JobReader
    vocabularies: Vocabularies

    def observe(self, round: FederationRound, dropped: frozenset[str]) -> Observed:
        """What is known of a round now. `dropped`: digests that this process knows to be deleted."""
        uid = round.metadata.uid
        entries = self.exchange.entries(uid)
        begun = bool(entries)
        computation = self.exchange.computation(uid) if begun else None
        if computation is None and any(e.kind == Kind.COMPUTATION for e in entries):
            raise ExchangeUnavailable(f"the computation of round {round.metadata.name} cannot be read yet")
        base = self.exchange.base(round.spec)
        return Observed(
            entries=entries,
            jobs=self._jobs(round, entries),
            silos=self.silos.states(begun=begun),
            tasks=self.exchange.tasks(uid) if begun else {},
            computation=computation,
            dropped=dropped,
            base=base,
            published=self._published(round, entries),
            vocabulary=begun or self._has_vocabulary(round, base),
        )

    def _jobs(self, round: FederationRound, entries: tuple[Entry, ...]) -> Mapping[str, JobState]:
        # No Job comes before the enrolment stands, and listing them for every waiting round would cost the most.
        if not any(e.kind == Kind.ENROLLED for e in entries):
            return {}
        uid = round.metadata.uid
        jobs = self.jobs.jobs_of(round.metadata.namespace, uid)
        # What a table says is asked for until it stands on the board.
        return (
            jobs if any(e.kind == Kind.RANKINGS for e in entries) else with_tables(self.exchange, uid, jobs)
        )

    def _has_vocabulary(self, round: FederationRound, base: BaseRelease | None) -> bool:
        if "vocabulary" in round.spec:
            return self.vocabularies.find(round) is not None
        return base is None or self.exchange.base_vocabulary(base) is not None

    def _published(self, round: FederationRound, entries: tuple[Entry, ...]) -> bool:
        """Kept beyond the round, and its resource stands: a crash between the two is mended."""
        released = next((e for e in entries if e.kind == Kind.RELEASED), None)
        if released is None:
            return False
        digest = bytes(released.body["digest"]).hex()
        if not self.exchange.published(digest):
            return False
        name = release_name(round.metadata.name, digest)
        try:
            self.cluster.get("Release", round.metadata.namespace, name)
        except NotFound:
            return False
        return True
