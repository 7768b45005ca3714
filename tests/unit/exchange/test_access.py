"""Who is let in: tokens, registry, revocation, tasks and presence."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from fedgestalt.crypto.keys import Identity, SigningKey
from fedgestalt.exchange.errors import ClockSkewedError, Code, RefusedError, RevokedError, UnreachableError
from fedgestalt.exchange.tls import make_tls
from fedgestalt.exchange.tokens import Claims, KeyCredential, Role, TokenVerifier, mint

from .conftest import ROUND, Federation


@dataclass
class Fixed:
    value: str

    def token(self) -> str:
        return self.value


def refused_with(federation: Federation, token: str, name: str = "west") -> Code:
    client = federation.client(name, credential=Fixed(token))
    ask = client.silos if name == "hub" else client.tasks
    with pytest.raises(RefusedError) as refusal:
        ask()
    return refusal.value.code


def test_tokens_of_strangers_are_refused(federation: Federation) -> None:
    hub, west = federation.hub.public, federation.silos["west"]
    stranger = Identity.generate()
    for token in (
        "nonsense",
        "a.b.c",
        mint(stranger, role=Role.SILO, name="west", hub_key=hub),
        mint(stranger, role=Role.SILO, name="nobody", hub_key=hub),
        mint(west, role=Role.SILO, name="east", hub_key=hub),
        mint(west, role=Role.SILO, name="west", hub_key=stranger.public),
        mint(west, role=Role.SILO, name="west", hub_key=hub, lifetime=301),
        mint(west, role=Role.SILO, name="west", hub_key=hub) + "x",
    ):
        assert refused_with(federation, token) is Code.UNAUTHENTICATED
    for role in (Role.HUB, Role.JOB):
        token = mint(west, role=role, name="hub", hub_key=hub, round_uid=ROUND)
        assert refused_with(federation, token, "hub") is Code.UNAUTHENTICATED


def test_an_unsigned_token_is_refused(federation: Federation) -> None:
    import jwt

    good = mint(federation.silos["west"], role=Role.SILO, name="west", hub_key=federation.hub.public)
    claims = jwt.decode(good, options={"verify_signature": False})
    assert refused_with(federation, jwt.encode(claims, None, algorithm="none")) is Code.UNAUTHENTICATED
    secret = federation.silos["west"].public
    forged = jwt.encode(claims, secret, algorithm="HS256")
    assert refused_with(federation, forged) is Code.UNAUTHENTICATED


@pytest.mark.parametrize("offset", [-1000, 400])
def test_a_skewed_clock_is_named(federation: Federation, offset: int) -> None:
    token = mint(
        federation.silos["west"],
        role=Role.SILO,
        name="west",
        hub_key=federation.hub.public,
        now=time.time() + offset,
    )
    client = federation.client("west", credential=Fixed(token))
    with pytest.raises(ClockSkewedError):
        client.tasks()


@pytest.mark.parametrize("offset", [-280, 280])
def test_clocks_may_differ_by_less_than_five_minutes(federation: Federation, offset: int) -> None:
    token = mint(
        federation.silos["west"],
        role=Role.SILO,
        name="west",
        hub_key=federation.hub.public,
        now=time.time() + offset,
    )
    assert federation.client("west", credential=Fixed(token)).tasks() == ([], 0)


def test_a_token_that_is_remembered_still_ends_and_falls_with_its_key() -> None:
    hub, old, new = Identity.generate(), Identity.generate(), Identity.generate()
    verifier = TokenVerifier(hub.public)
    token = mint(old, role=Role.SILO, name="west", hub_key=hub.public, now=1000.0)
    claims = verifier.verify(token, key_of=lambda _: old.public, now=1000.0)
    assert verifier.knows(token)
    assert verifier.verify(token, key_of=lambda _: old.public, now=1200.0) == claims
    with pytest.raises(ClockSkewedError):
        verifier.verify(token, key_of=lambda _: old.public, now=2000.0)
    with pytest.raises(RefusedError, match="not signed"):
        verifier.verify(token, key_of=lambda _: new.public, now=1000.0)

    def revoked(_: Claims) -> bytes:
        raise RevokedError(Code.REVOKED, "west")

    with pytest.raises(RevokedError):
        verifier.verify(token, key_of=revoked, now=1000.0)


def test_forged_tokens_are_not_remembered_and_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedgestalt.exchange.tokens._MAX_KNOWN", 3)
    hub, west = Identity.generate(), Identity.generate()
    verifier = TokenVerifier(hub.public)
    forged = mint(Identity.generate(), role=Role.SILO, name="west", hub_key=hub.public)
    with pytest.raises(RefusedError):
        verifier.verify(forged, key_of=lambda _: west.public, now=time.time())
    assert not verifier.knows(forged)
    tokens = [mint(west, role=Role.SILO, name="west", hub_key=hub.public, now=1000.0 + k) for k in range(5)]
    for token in tokens:
        verifier.verify(token, key_of=lambda _: west.public, now=1000.0)
    assert [verifier.knows(token) for token in tokens] == [False, False, True, True, True]


def test_a_delegated_key_speaks_in_its_round_only(enrolled: Federation) -> None:
    credential = KeyCredential(
        enrolled.delegated["west"], Role.SILO, "west", enrolled.hub.public, round_uid=ROUND, enrolment=1
    )
    west = enrolled.client("west", credential=credential)
    west.post(enrolled.endorse("west"))
    assert len(west.entries(ROUND, 0)) == 5
    for attempt in (lambda: west.tasks(), lambda: west.entries("other", 0)):
        with pytest.raises(RefusedError) as refusal:
            attempt()
        assert refusal.value.code is Code.FORBIDDEN
    wrong = KeyCredential(
        SigningKey.generate(), Role.SILO, "west", enrolled.hub.public, round_uid=ROUND, enrolment=1
    )
    assert refused_with(enrolled, wrong.token()) is Code.UNAUTHENTICATED


def test_a_revoked_silo_is_refused_at_its_next_request(enrolled: Federation) -> None:
    west = enrolled.client("west")
    delegated = enrolled.client(
        "west",
        credential=KeyCredential(
            enrolled.delegated["west"], Role.SILO, "west", enrolled.hub.public, round_uid=ROUND, enrolment=1
        ),
    )
    assert len(west.entries(ROUND, 0)) == 4
    enrolled.revoked.add("west")
    enrolled.write_registry()
    for client in (west, delegated):
        with pytest.raises(RevokedError):
            client.entries(ROUND, 0)
    assert len(enrolled.client("east").entries(ROUND, 0)) == 4
    enrolled.revoked.clear()
    enrolled.write_registry()
    assert len(west.entries(ROUND, 0)) == 4


def test_an_unreadable_registry_lets_no_silo_in(federation: Federation) -> None:
    west = federation.client("west", deadline=0.5)
    west.tasks()
    federation.registry.write_text('{"silos": {"west": {"identity": "00"}}}')
    with pytest.raises(RefusedError) as refusal:
        west.tasks()
    assert refusal.value.code is Code.REGISTRY_UNREADABLE


def test_a_server_of_another_authority_is_not_trusted(
    federation: Federation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from fedgestalt.exchange.chain import MemoryChainState
    from fedgestalt.exchange.client import BoardClient

    other = make_tls(tmp_path_factory.mktemp("other"), ["127.0.0.1"])
    credential = KeyCredential(federation.silos["west"], Role.SILO, "west", federation.hub.public)
    with BoardClient(
        federation.url,
        other.ca,
        credential,
        name="west",
        hub_key=federation.hub.public,
        state=MemoryChainState(),
    ) as client:
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="certificate"):
            client.tasks()
        assert time.monotonic() - began < 5  # not worth a retry


def test_tasks_go_down_and_their_status_comes_up(federation: Federation) -> None:
    hub, west = federation.client("hub"), federation.client("west")
    assert west.tasks() == ([], 0)
    seen: list[str] = []

    def wait() -> None:
        tasks, _ = west.tasks(wait=20, after=0)
        seen.extend(task.name for task in tasks)

    thread = threading.Thread(target=wait)
    thread.start()
    hub.put_task("west", "fg-1234-train", {"kind": "Train", "attempt": 1})
    thread.join(10)
    assert seen == ["fg-1234-train"]
    west.put_task_status("fg-1234-train", {"phase": "Running", "note": "½"})
    (task,) = hub.silo_tasks("west")
    assert task.spec == {"kind": "Train", "attempt": 1}
    assert task.status == {"phase": "Running", "note": "½"}
    assert federation.client("east").tasks()[0] == []
    with pytest.raises(RefusedError) as refusal:
        federation.client("east").put_task_status("fg-1234-train", {})
    assert refusal.value.code is Code.TASK_UNKNOWN
    with pytest.raises(RefusedError) as refusal:
        west.put_task("west", "mine", {})
    assert refusal.value.code is Code.FORBIDDEN
    hub.delete_task("west", "fg-1234-train")
    assert west.tasks()[0] == []
    with pytest.raises(RefusedError) as refusal:
        west.put_task_status("fg-1234-train", {"note": "x" * 70_000})
    assert refusal.value.code is Code.TOO_LARGE


def test_the_hub_sees_who_was_heard_and_when(federation: Federation) -> None:
    hub, west = federation.client("hub"), federation.client("west")
    before = {silo.name: silo for silo in hub.silos()}
    assert before["west"].last_heard is None
    assert before["west"].identities == (federation.silos["west"].public,)
    west.heartbeat("0.3.0")
    after = {silo.name: silo for silo in hub.silos()}
    assert after["west"].version == "0.3.0"
    heard = after["west"].last_heard
    assert heard is not None
    assert after["west"].serving_since <= heard <= after["west"].now
    assert after["east"].last_heard is None
    with pytest.raises(RefusedError) as refusal:
        west.silos()
    assert refusal.value.code is Code.FORBIDDEN


def test_errors_are_problem_documents_with_a_fix(federation: Federation) -> None:
    import ssl

    import httpx

    context = ssl.create_default_context(cafile=str(federation.tls.ca))
    with httpx.Client(verify=context, base_url=federation.url) as http:
        answer = http.get("/v1/tasks")
        assert answer.status_code == 401
        assert answer.headers["Content-Type"] == "application/problem+json"
        content = answer.json()
        assert content["type"] == "urn:fedgestalt:problem:Unauthenticated"
        assert content["code"] == "Unauthenticated"
        assert content["fix"]
        assert http.get("/v1/nothing").json()["code"] == "NotFound"
        token = KeyCredential(federation.hub, Role.HUB, "hub", federation.hub.public).token()
        listing = f"/v1/rounds/{ROUND}/messages?wait=1000"
        bad = http.get(listing, headers={"Authorization": f"Bearer {token}"})
        assert (bad.status_code, bad.json()["code"]) == (400, "Invalid")
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/readyz").status_code == 200
