"""Who is told what the hub has done: metrics, logs and Events in a cluster, a progress bar on one machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..kube.port import Document
from ..plan.types import Decision, JobKind


class Listener:
    """Hears nothing; whoever listens overrides what it needs. Called after the fact, never before."""

    def status_written(self, document: Document, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """The status of `document` was written."""

    def decided(self, document: Document, decisions: Sequence[Decision]) -> None:
        """Decisions of the round `document` stand on the board."""

    def job_created(self, kind: JobKind) -> None:
        """A Job was created."""
