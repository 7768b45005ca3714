"""What a clinic's InferenceEndpoint serves, and what its status says: pure.

A person writes `spec.release`. The agent, which has the files and the keys, says which releases it has verified; the
service says which one it has loaded; the Deployment says whether its pods are there. Nothing that a hub sends changes
what is served: a newer release becomes a candidate, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..api.conditions import Condition, EndpointCondition, Truth, documents, seconds
from ..api.endpoint import InferenceEndpoint, Promotion
from ..api.reasons import LoadedReason, ReadyReason, VerifiedReason
from .candidate import candidate_of
from .endpoint_types import EndpointPlan, SeenEndpoint, Serve, short

MAX_PREVIOUS: Final = 10
MAX_MESSAGE: Final = 1024
NOT_AUTOMATIC: Final = (
    "promotion Automatic promotes nothing in this version, which cannot measure the gates on the site's own test photos: "
    "a person writes the digest of the candidate into spec.release"
)
_Said = tuple[Truth, VerifiedReason | LoadedReason | ReadyReason, str]


def plan_endpoint(
    endpoint: InferenceEndpoint, seen: SeenEndpoint, *, old: Mapping[str, Any], now: float
) -> EndpointPlan:
    """Plan one endpoint.

    Args:
        old: its status as it stands. A condition whose status stays keeps its time.
        now: Unix time by the site's clock.
    """
    verified = _verified(endpoint, seen, old)
    loaded = _loaded(endpoint, seen, verified)
    ready = _ready(endpoint, seen, verified, loaded, old)
    status: dict[str, Any] = {
        "observedGeneration": endpoint.metadata.generation,
        "conditions": documents(
            _condition(kind, said, endpoint, old, now)
            for kind, said in (
                (EndpointCondition.VERIFIED, verified),
                (EndpointCondition.LOADED, loaded),
                (EndpointCondition.READY, ready),
            )
        ),
    }
    serve = None
    if verified[0] is Truth.TRUE and not seen.hindrance:
        serve = Serve(endpoint.release, _history(endpoint, seen, old))
    summary = {}
    if seen.answer.release:
        status["release"] = seen.answer.release
        summary["release"] = short(seen.answer.release)
    if previous := _previous(endpoint, seen, old):
        status["previous"] = list(previous)
    candidate = candidate_of(
        endpoint.release,
        seen.answer.release,
        seen.releases,
        verified={digest for digest, found in (seen.checked or {}).items() if found.valid},
        old=old.get("candidate", {}),
        now=now,
    )
    if candidate is not None:
        status["candidate"] = candidate
        summary["candidate"] = f"{short(candidate['release'])} {candidate['reason']}"
    if summary:
        status["summary"] = summary
    return EndpointPlan(
        serve, status, ready=ready[0] is Truth.TRUE, settled=ready[0] is Truth.TRUE or serve is None
    )


def _verified(endpoint: InferenceEndpoint, seen: SeenEndpoint, old: Mapping[str, Any]) -> _Said:
    wanted = endpoint.release
    if seen.checked is None:
        # What was verified stays so while the agent is away; the service verifies again whatever it loads.
        if _was_true(old, EndpointCondition.VERIFIED, endpoint.metadata.generation):
            return Truth.TRUE, VerifiedReason.SIGNATURES_VALID, ""
        return Truth.UNKNOWN, VerifiedReason.RELEASE_MISSING, "the agent has not said which releases it has"
    found = seen.checked.get(wanted)
    if found is not None:
        return Truth.TRUE if found.valid else Truth.FALSE, found.reason, found.message
    if any(release.digest == wanted for release in seen.releases):
        what = "the hub has it, but its files are not at this site: take part in an Adopt round"
    else:
        what = "neither this site nor its hub has a release of this digest"
    return Truth.FALSE, VerifiedReason.RELEASE_MISSING, what


def _loaded(endpoint: InferenceEndpoint, seen: SeenEndpoint, verified: _Said) -> _Said:
    wanted, rollout = endpoint.release, seen.rollout
    if verified[0] is not Truth.TRUE:
        return Truth.FALSE, LoadedReason.NOT_VERIFIED, "nothing is loaded before it is verified"
    if seen.answer.release == wanted:
        return Truth.TRUE, LoadedReason.MODEL_LOADED, ""
    if rollout is not None and rollout.release == wanted and rollout.failed:
        text = f"{rollout.failed}; the log of the pod's container says why"
        return Truth.FALSE, LoadedReason.LOAD_FAILED, text
    return Truth.FALSE, LoadedReason.LOADING, ""


def _ready(
    endpoint: InferenceEndpoint, seen: SeenEndpoint, verified: _Said, loaded: _Said, old: Mapping[str, Any]
) -> _Said:
    status, reason, text = _standing(endpoint, seen, verified, loaded, old)
    texts = [text]
    if seen.answer.release and seen.answer.release != endpoint.release:
        texts.append(f"{short(seen.answer.release)} goes on serving")
    if endpoint.promotion is Promotion.AUTOMATIC:
        texts.append(NOT_AUTOMATIC)
    return status, reason, "; ".join(filter(None, texts))


def _standing(
    endpoint: InferenceEndpoint, seen: SeenEndpoint, verified: _Said, loaded: _Said, old: Mapping[str, Any]
) -> _Said:
    wanted, answer, rollout = short(endpoint.release), seen.answer, seen.rollout
    if verified[0] is not Truth.TRUE:
        return Truth.FALSE, ReadyReason.NOT_VERIFIED, f"{wanted} is not verified"
    if answer.release and answer.release != endpoint.release:
        hold = seen.hindrance or (rollout.refused if rollout is not None else "")
        failed = loaded[1] is LoadedReason.LOAD_FAILED
        text = f"{wanted} could not be loaded" if failed else f"{wanted} is not loaded yet"
        return Truth.FALSE, ReadyReason.WRONG_RELEASE, f"{text}: {hold}" if hold else text
    if answer.release and rollout is not None and rollout.available:
        if rollout.release == endpoint.release and (rollout.done or _served(endpoint, old)):
            return Truth.TRUE, ReadyReason.SERVING, rollout.refused or rollout.failed
        return Truth.FALSE, ReadyReason.WRONG_RELEASE, "a pod with another release has not ended yet"
    return Truth.FALSE, *_why_silent(endpoint, seen, loaded)


def _why_silent(endpoint: InferenceEndpoint, seen: SeenEndpoint, loaded: _Said) -> tuple[ReadyReason, str]:
    rollout = seen.rollout
    if seen.hindrance:
        return ReadyReason.POD_NOT_READY, seen.hindrance
    if rollout is None or rollout.release != endpoint.release:
        return ReadyReason.NOT_LOADED, f"{short(endpoint.release)} is not loaded yet"
    if rollout.refused:
        return ReadyReason.POD_NOT_READY, rollout.refused
    if rollout.available:
        return (
            ReadyReason.POD_NOT_READY,
            f"a pod is ready, but the service says nothing: {seen.answer.silence}",
        )
    if rollout.complete and loaded[1] is not LoadedReason.LOAD_FAILED:
        return ReadyReason.POD_NOT_READY, "no pod is ready any more"
    return ReadyReason.NOT_LOADED, f"{short(endpoint.release)} is not loaded"


def _served(endpoint: InferenceEndpoint, old: Mapping[str, Any]) -> bool:
    """Whether this very release was ready before: then other pods of the Deployment serve it too."""
    return old.get("release") == endpoint.release and _was_true(old, EndpointCondition.READY)


def _was_true(old: Mapping[str, Any], kind: EndpointCondition, generation: int | None = None) -> bool:
    return any(
        c["type"] == kind and c["status"] == Truth.TRUE and generation in (None, c.get("observedGeneration"))
        for c in old.get("conditions", ())
    )


def _history(endpoint: InferenceEndpoint, seen: SeenEndpoint, old: Mapping[str, Any]) -> tuple[str, ...]:
    """What the Deployment is to remember: it outlives a status that somebody deleted."""
    if seen.rollout is not None and seen.rollout.release == endpoint.release:
        return seen.rollout.previous
    served = seen.answer.release or str(old.get("release", ""))
    # The status first: it says the same in the next pass, whether or not `served` is heard again.
    before = (*old.get("previous", ()), *(seen.rollout.previous if seen.rollout is not None else ()))
    return tuple(_distinct((served, *before), endpoint.release))[:MAX_PREVIOUS]


def _previous(endpoint: InferenceEndpoint, seen: SeenEndpoint, old: Mapping[str, Any]) -> tuple[str, ...]:
    """Ways back: served once, still on the disk."""
    found = [
        digest
        for digest in _history(endpoint, seen, old)
        if digest != seen.answer.release and (seen.checked is None or digest in seen.checked)
    ]
    return tuple(found[: endpoint.keep_previous])


def _distinct(digests: tuple[str, ...], without: str) -> Iterator[str]:
    yield from (d for d in dict.fromkeys(digests) if d and d != without)


def _condition(
    kind: EndpointCondition, said: _Said, endpoint: InferenceEndpoint, old: Mapping[str, Any], now: float
) -> Condition:
    status, reason, message = said
    since = now
    for condition in old.get("conditions", ()):
        if condition["type"] == kind and condition["status"] == status:
            since = seconds(condition["lastTransitionTime"])
    return Condition(kind, status, reason, message[:MAX_MESSAGE], since, endpoint.metadata.generation)
