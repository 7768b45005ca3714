"""What the planner sees of an InferenceEndpoint, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..api.reasons import VerifiedReason
from ..api.release import Release


@dataclass(frozen=True, slots=True)
class Checked:
    """What the site's agent found of a release on its disk; verified if the reason is SignaturesValid."""

    reason: VerifiedReason
    message: str = ""

    @property
    def valid(self) -> bool:
        """Whether digest, signatures and weights hold."""
        return self.reason is VerifiedReason.SIGNATURES_VALID


@dataclass(frozen=True, slots=True)
class Rollout:
    """The Deployment of an endpoint.

    Attributes:
        release: the digest that its pods are to serve.
        previous: digests that were served before it, the last first.
        done: its controller has seen it, and no pod of an earlier template is left.
        complete: it was done once, whatever became of its pods since.
        available: pods that are ready.
        failed: why its newest pods did not become ready in time; empty while that may still come.
        refused: why its pods cannot be made (quota, admission); empty where they can.
    """

    release: str
    previous: tuple[str, ...] = ()
    done: bool = False
    complete: bool = False
    available: int = 0
    failed: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the running service says: the digest that it has loaded, or empty, and why nothing was heard."""

    release: str = ""
    silence: str = ""


@dataclass(frozen=True, slots=True)
class SeenEndpoint:
    """What the site knows.

    Attributes:
        releases: the hub's Releases as they are mirrored here.
        checked: by digest, every release on the site's disk; None where the agent has not said.
        rollout: the endpoint's Deployment; None if there is none.
        answer: of its service.
        hindrance: why no Deployment can be made here; empty where one can.
    """

    releases: tuple[Release, ...] = ()
    checked: Mapping[str, Checked] | None = None
    rollout: Rollout | None = None
    answer: Answer = Answer()
    hindrance: str = ""


@dataclass(frozen=True, slots=True)
class Serve:
    """Let Deployment and Service be for this release; `previous` were served before it, the last first."""

    release: str
    previous: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """`serve` None: leave what is there as it is. `settled`: nothing is expected to change by itself soon."""

    serve: Serve | None
    status: Mapping[str, Any]
    ready: bool
    settled: bool


def short(digest: str) -> str:
    """The first 12 digits of a digest, as people compare them."""
    return digest.removeprefix("sha256:")[:12]
