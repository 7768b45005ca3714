"""Tokens of the hub's Jobs: one Secret, a fresh key a round, nothing that has ended."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.plan.simulation import make_round

from fedgestalt_operator.api.meta import Metadata
from fedgestalt_operator.hub.access import JobAccess
from fedgestalt_operator.kube.errors import Conflict
from fedgestalt_operator.kube.memory import MemoryCluster

UIDS = ("11111111-1b1a-4c55-9d5e-0a1b2c3d4e5f", "22222222-1b1a-4c55-9d5e-0a1b2c3d4e5f")
LIFETIME = 3600.0


def token(uid: str, until: float) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"sub": uid, "exp": until}).encode()).decode().rstrip("=")
    return f"header.{payload}.signature"


class Place:
    """The Secret, a clock and the number of minted tokens."""

    def __init__(self) -> None:
        self.now, self.minted = 1_790_000_000.0, 0
        self.cluster = MemoryCluster()
        self.cluster.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns"}}
        )
        self.access = self.fresh()

    def fresh(self) -> JobAccess:
        return JobAccess(
            self.cluster,
            self.mint,
            {"url": b"https://exchange"},
            namespace="ns",
            secret="s",
            lifetime=LIFETIME,
            now=lambda: self.now,
        )

    def mint(self, uid: str) -> str:
        self.minted += 1
        return token(uid, self.now + LIFETIME)

    def ensure(self, uid: str) -> None:
        self.access.ensure(make_round(metadata=Metadata("r", uid, "ns")))

    def renew(self, uid: str) -> None:
        self.access.renew(make_round(metadata=Metadata("r", uid, "ns")))

    def empty(self) -> None:
        """The chart is installed anew."""
        self.cluster.delete("Secret", "ns", "s")
        self.cluster.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "ns"}}
        )

    def data(self) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self.cluster.get("Secret", "ns", "s")["data"]
        return data


def test_each_round_has_a_key_of_its_own_beside_the_address() -> None:
    place = Place()
    for uid in UIDS:
        place.ensure(uid)
    assert set(place.data()) == {"url", "token-11111111", "token-22222222"}
    assert base64.b64decode(place.data()["url"]) == b"https://exchange"


def test_a_token_is_renewed_at_half_its_life_and_not_before() -> None:
    place = Place()
    place.ensure(UIDS[0])
    place.now += LIFETIME / 2 - 1
    for look in (place.ensure, place.renew):
        look(UIDS[0])
        assert place.minted == 1
    place.now += 2
    place.renew(UIDS[0])
    assert place.minted == 2
    place.now += LIFETIME / 2 + 1
    place.ensure(UIDS[0])
    assert place.minted == 3


def test_tokens_that_have_ended_leave_the_secret_and_others_outlive_a_restart() -> None:
    place = Place()
    place.ensure(UIDS[0])
    place.now += LIFETIME / 2
    place.access = place.fresh()
    place.ensure(UIDS[1])
    assert "token-11111111" in place.data(), "a new process keeps the tokens of running Jobs"
    place.now += LIFETIME / 2 + 1
    place.ensure(UIDS[1])
    assert set(place.data()) == {"url", "token-22222222"}


def test_a_secret_that_was_emptied_is_filled_before_the_next_job() -> None:
    place = Place()
    place.ensure(UIDS[0])
    place.empty()
    place.ensure(UIDS[0])
    assert set(place.data()) == {"url", "token-11111111"}
    assert place.minted == 2
    place.ensure(UIDS[0])
    assert place.minted == 2, "nothing is written over what stands"


def test_of_two_processes_neither_takes_the_other_s_token_away(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    other, get = place.fresh(), place.cluster.get
    turns = iter([True])

    def overtaken(kind: str, namespace: str, name: str) -> Any:
        found = get(kind, namespace, name)
        if next(turns, False):  # between this process's look and its write
            other.ensure(make_round(metadata=Metadata("r", UIDS[1], "ns")))
        return found

    monkeypatch.setattr(place.cluster, "get", overtaken)
    place.ensure(UIDS[0])
    assert set(place.data()) == {"url", "token-11111111", "token-22222222"}


def test_a_secret_that_others_write_all_the_time_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place()

    def changed(document: Mapping[str, Any]) -> Any:
        raise Conflict("Secret s has changed since it was read")

    monkeypatch.setattr(place.cluster, "apply", changed)
    with pytest.raises(Conflict):
        place.ensure(UIDS[0])
