"""InferenceEndpoints: what is served is what a person wrote, and Ready says no more than was seen."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgestalt_operator.api.endpoint import Gates, InferenceEndpoint, Promotion, Resources
from fedgestalt_operator.api.meta import Metadata
from fedgestalt_operator.api.reasons import VerifiedReason
from fedgestalt_operator.api.release import Release
from fedgestalt_operator.api.round import Operation
from fedgestalt_operator.kube.validate import validate_status
from fedgestalt_operator.plan.endpoint import NOT_AUTOMATIC, plan_endpoint
from fedgestalt_operator.plan.endpoint_types import (
    Answer,
    Checked,
    EndpointPlan,
    Rollout,
    SeenEndpoint,
    Serve,
)

A, B, C = (f"sha256:{digit * 64}" for digit in "abc")
NOW = 1_800_000_000.0
VALID = Checked(VerifiedReason.SIGNATURES_VALID)
DISK = {A: VALID, B: VALID}


def release(
    digest: str, *, created: float = NOW, parents: tuple[str, ...] = (), dataset: str = "faces"
) -> Release:
    return Release(
        metadata=Metadata(name=f"r-{digest[-1]}", created=created),
        digest=digest,
        round="r",
        round_uid="1" * 8,
        operation=Operation.TRAIN,
        epoch="e" * 64,
        parents=parents,
        silos=("east", "north", "west"),
        signers=("east", "north", "west"),
        bundle=digest,
        bundle_plain=digest,
        evaluation=None,
        dataset=dataset,
        synthetic=True,
    )


def endpoint(
    wanted: str = A, *, automatic: bool = False, keep: int = 1, generation: int = 1
) -> InferenceEndpoint:
    return InferenceEndpoint(
        metadata=Metadata(name="clinic", uid="5f0c2d7e", namespace="site", generation=generation),
        release=wanted,
        promotion=Promotion.AUTOMATIC if automatic else Promotion.MANUAL,
        gates=Gates(0.0, 1.0, 1) if automatic else None,
        keep_previous=keep,
        resources=Resources("1", "2Gi", 0),
    )


def up(digest: str, *previous: str) -> Rollout:
    return Rollout(digest, previous, done=True, complete=True, available=1)


def plan(
    it: InferenceEndpoint, seen: SeenEndpoint, old: dict[str, Any] | None = None, now: float = NOW
) -> EndpointPlan:
    return plan_endpoint(it, seen, old=old or {}, now=now)


def reasons(found: EndpointPlan) -> dict[str, str]:
    return {c["type"]: c["reason"] for c in found.status["conditions"]}


def message(found: EndpointPlan, kind: str = "Ready") -> str:
    return next(c["message"] for c in found.status["conditions"] if c["type"] == kind)


def ready(found: EndpointPlan) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found.status["conditions"])


SERVING = SeenEndpoint((release(A),), DISK, up(A), Answer(A))


def test_from_nothing_to_serving():
    seen = SeenEndpoint()
    first = plan(endpoint(), seen)
    assert (first.serve, reasons(first)["Verified"]) == (None, "ReleaseMissing")
    verified = plan(endpoint(), replace(seen, checked=DISK))
    assert verified.serve == Serve(A)
    assert reasons(verified) == {"Verified": "SignaturesValid", "Loaded": "Loading", "Ready": "NotLoaded"}
    served = plan(endpoint(), SERVING)
    assert reasons(served) == {"Verified": "SignaturesValid", "Loaded": "ModelLoaded", "Ready": "Serving"}
    assert (served.status["release"], served.status["summary"]) == (A, {"release": "a" * 12})
    assert ready(served)


@pytest.mark.parametrize(
    "reason", [VerifiedReason.PROOF_INVALID, VerifiedReason.DIGEST_MISMATCH, VerifiedReason.BUNDLE_MISMATCH]
)
def test_what_is_not_verified_is_never_deployed_and_the_old_release_goes_on_serving(reason):
    found = plan(endpoint(B), replace(SERVING, checked={A: VALID, B: Checked(reason, "why")}))
    assert found.serve is None
    assert reasons(found) == {"Verified": reason.value, "Loaded": "NotVerified", "Ready": "NotVerified"}
    assert "a" * 12 + " goes on serving" in message(found)
    assert (found.status["release"], message(found, "Verified")) == (A, "why")


def test_a_release_that_is_known_but_not_here_says_what_to_do():
    assert "Adopt" in message(plan(endpoint(C), replace(SERVING, releases=(release(C),))), "Verified")
    assert "neither" in message(plan(endpoint(C), SERVING), "Verified")


def test_another_digest_is_served_once_the_running_service_says_so():
    old = dict(plan(endpoint(), SERVING).status)
    asked = plan(endpoint(B, generation=2), SERVING, old)
    assert asked.serve == Serve(B, (A,))
    rolling = replace(SERVING, rollout=Rollout(B, (A,), available=1))
    during = plan(endpoint(B, generation=2), rolling, old)
    assert (reasons(during)["Loaded"], reasons(during)["Ready"]) == ("Loading", "WrongRelease")
    assert (during.status["release"], "previous" in during.status) == (A, False)
    both = plan(endpoint(B, generation=2), replace(rolling, answer=Answer(B)), dict(during.status))
    assert (reasons(both)["Loaded"], reasons(both)["Ready"]) == ("ModelLoaded", "WrongRelease")
    after = plan(endpoint(B, generation=2), replace(SERVING, rollout=up(B, A), answer=Answer(B)))
    assert ready(after)
    assert (after.status["release"], after.status["previous"]) == (B, [A])


def test_a_release_that_fails_to_load_leaves_the_old_one_serving_and_says_both():
    failing = Rollout(B, (A,), available=1, failed="no pod became ready within 10 minutes")
    found = plan(endpoint(B), replace(SERVING, rollout=failing))
    assert reasons(found) == {
        "Verified": "SignaturesValid",
        "Loaded": "LoadFailed",
        "Ready": "WrongRelease",
    }
    assert found.status["release"] == A
    assert "could not be loaded; " + "a" * 12 + " goes on serving" in message(found)
    first = plan(endpoint(), SeenEndpoint((), DISK, Rollout(A, failed="no pod became ready")))
    assert (reasons(first)["Loaded"], reasons(first)["Ready"]) == ("LoadFailed", "NotLoaded")


def test_going_back_is_one_change_of_the_digest():
    on_b = replace(SERVING, rollout=up(B, A), answer=Answer(B))
    old = dict(plan(endpoint(B), on_b).status)
    back = plan(endpoint(A), on_b, old)
    assert back.serve == Serve(A, (B,))
    there = plan(endpoint(A), replace(SERVING, rollout=up(A, B)), dict(back.status))
    assert ready(there)
    assert there.status["previous"] == [B]


def test_a_release_that_never_served_is_no_way_back():
    failing = replace(SERVING, rollout=Rollout(B, (A,), available=1, failed="no"))
    back = plan(endpoint(A), failing)
    assert back.serve == Serve(A)


def test_only_as_many_ways_back_are_listed_as_are_kept_and_lie_on_the_disk():
    seen = replace(SERVING, rollout=up(A, B, C), checked={**DISK, C: VALID})
    assert [plan(endpoint(keep=n), seen).status.get("previous") for n in (0, 1, 2)] == [None, [B], [B, C]]
    assert plan(endpoint(keep=2), replace(seen, checked={A: VALID, C: VALID})).status["previous"] == [C]


def test_pods_that_are_gone_or_cannot_be_made_are_told_apart_from_loading():
    gone = plan(
        endpoint(), replace(SERVING, rollout=replace(up(A), available=0), answer=Answer("", "refused"))
    )
    assert (reasons(gone)["Ready"], message(gone)) == ("PodNotReady", "no pod is ready any more")
    refused = replace(SERVING, rollout=Rollout(A, refused="exceeded quota"), answer=Answer())
    assert message(plan(endpoint(), refused)) == "exceeded quota"
    silent = plan(endpoint(), replace(SERVING, answer=Answer("", "timed out")))
    assert (reasons(silent)["Ready"], "timed out" in message(silent)) == ("PodNotReady", True)
    nowhere = plan(endpoint(), SeenEndpoint(checked=DISK, hindrance="no image was given"))
    assert (nowhere.serve, reasons(nowhere)["Ready"]) == (None, "PodNotReady")


def test_what_was_verified_stays_so_while_the_agent_is_away_but_nothing_new_is():
    old = dict(plan(endpoint(), SERVING).status)
    away = replace(SERVING, checked=None)
    assert ready(plan(endpoint(), away, old))
    changed = plan(endpoint(B, generation=2), away, old)
    assert (changed.serve, ready(changed)) == (None, False)


def test_a_newer_release_becomes_a_candidate_and_nothing_else_changes():
    newer = replace(SERVING, releases=(release(A), release(B, parents=(A,)), release(C, dataset="other")))
    found = plan(endpoint(), newer)
    assert found.status["candidate"] == {
        "release": B,
        "reason": "AwaitingPerson",
        "since": "2027-01-15T08:00:00Z",
    }
    assert found.status["summary"]["candidate"] == "b" * 12 + " AwaitingPerson"
    assert found.serve == plan(endpoint(), SERVING).serve
    assert plan(endpoint(B), replace(newer, answer=Answer(B), rollout=up(B))).status.get("candidate") is None
    unverified = plan(endpoint(), replace(newer, checked={A: VALID}), dict(found.status), NOW + 60)
    assert unverified.status["candidate"]["reason"] == "NotVerified"
    assert unverified.status["candidate"]["since"] == "2027-01-15T08:01:00Z"


def test_parents_in_a_circle_end():
    circle = (release(A, parents=(B,)), release(B, parents=(A,)))
    assert "candidate" in plan(endpoint(), replace(SERVING, releases=circle)).status


def test_automatic_promotes_nothing_and_says_what_is_missing():
    newer = replace(SERVING, releases=(release(A), release(B, created=NOW + 1)))
    found = plan(endpoint(automatic=True), newer)
    assert found.serve == Serve(A)
    assert ready(found)
    assert (found.status["candidate"]["reason"], message(found)) == ("AwaitingPerson", NOT_AUTOMATIC)


DIGESTS = st.sampled_from([A, B, C])
RELEASES = st.builds(
    release,
    DIGESTS,
    created=st.sampled_from([NOW, NOW + 1]),
    parents=st.lists(DIGESTS, max_size=2).map(tuple),
    dataset=st.sampled_from(["faces", "other"]),
)
TEXTS = st.sampled_from(["", "", "because"])
ROLLOUTS = st.builds(
    Rollout,
    DIGESTS,
    st.lists(DIGESTS, max_size=3, unique=True).map(tuple),
    done=st.booleans(),
    complete=st.booleans(),
    available=st.integers(0, 2),
    failed=TEXTS,
    refused=TEXTS,
)
WORLDS = st.builds(
    SeenEndpoint,
    st.lists(RELEASES, max_size=4).map(tuple),
    st.none() | st.dictionaries(DIGESTS, st.builds(Checked, st.sampled_from(VerifiedReason), TEXTS)),
    st.none() | ROLLOUTS,
    st.builds(Answer, st.just("") | DIGESTS, TEXTS),
    TEXTS,
)
ENDPOINTS = st.builds(
    endpoint, DIGESTS, automatic=st.booleans(), keep=st.integers(0, 10), generation=st.integers(1, 2)
)


@settings(max_examples=20, deadline=None)
@given(ENDPOINTS, WORLDS)
def test_whatever_is_seen_the_status_fits_its_schema(it, seen):
    status = json.loads(json.dumps(plan(it, seen).status))
    assert validate_status("InferenceEndpoint", status, None, source="test") == status


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(ENDPOINTS, WORLDS), min_size=1, max_size=4))
def test_whatever_is_seen_the_status_says_no_more_and_stands_still(steps):
    """Random worlds one after the other, each with the status that the one before left."""
    status: dict[str, Any] = {}
    for it, seen in steps:
        found = plan(it, seen, status)
        assert found.serve is None or found.serve.release == it.release
        known = seen.checked is None or (it.release in seen.checked and seen.checked[it.release].valid)
        assert found.serve is None or (known and not seen.hindrance)
        if ready(found):
            assert seen.answer.release == found.status["release"] == it.release
            assert known
            assert seen.rollout is not None
            assert seen.rollout.available
        status = dict(found.status)
        assert plan(it, seen, status, NOW + 3600).status == status


@settings(max_examples=150, deadline=None)
@given(ENDPOINTS, WORLDS, st.lists(RELEASES, max_size=4))
def test_nothing_that_a_hub_sends_changes_what_is_served(it, seen, sent):
    assert plan(it, replace(seen, releases=tuple(sent))).serve == plan(it, seen).serve
