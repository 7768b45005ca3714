"""The query service over TLS: who may do what, what travels, what is refused before it is read."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.epochs.answers import parse_answer
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.epochs.parts import MAX_PART_BYTES, parts
from fedgestalt.exchange.epochs.values import Budget, Cause, Counts, Taken
from fedgestalt.exchange.errors import (
    BudgetSpentError,
    Code,
    EpochEndedError,
    EpochUnknownError,
    RefusedError,
    RevokedError,
    UntrustedExchangeError,
)
from fedgestalt.exchange.registry import RegisteredSilo, write_registry
from fedgestalt.exchange.server.app import ServerSettings, create_app
from fedgestalt.exchange.storage import EmbeddedStorage
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.rows import SiloRows

from .conftest import NAMES, ROUND, Federation, digest_of
from .epoch_rows import EPOCH, FIRST, RELEASE, WIDTH, handle, unit, upload


class Clients:
    """An epoch client for everybody, over one federation."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self._made: dict[str, EpochClient] = {}

    def __getitem__(self, name: str) -> EpochClient:
        if name not in self._made:
            self._made[name] = self.make(name)
        return self._made[name]

    def make(self, name: str, *, round_uid: str = "", role: Role | None = None) -> EpochClient:
        key = self.federation.hub if name == "hub" else self.federation.silos[name]
        role = role or (Role.HUB if name == "hub" else Role.SILO)
        credential = KeyCredential(key, role, name, self.federation.hub.public, round_uid=round_uid)
        return EpochClient(self.federation.url, self.federation.tls.ca, credential, deadline=10.0)

    def close(self) -> None:
        for client in self._made.values():
            client.close()

    def send(self, name: str, rows: SiloRows) -> str:
        data = rows.encode()
        self.federation.client(name).upload(ROUND, digest_of(data), data)
        return digest_of(data)


@pytest.fixture
def clients(enrolled: Federation) -> Iterator[Clients]:
    made = Clients(enrolled)
    yield made
    made.close()


@pytest.fixture
def opened(clients: Clients) -> Clients:
    """An epoch whose members' rows were taken from the round's blobs."""
    clients["hub"].open(EPOCH, RELEASE, NAMES)
    for name in NAMES:
        digest = clients.send(name, upload(name, test=3, undiagnosed=2))
        clients["hub"].take_rows(EPOCH, name, round_uid=ROUND, digest=digest)
    return clients


def refusal(code: Code) -> pytest.RaisesExc[RefusedError]:
    return pytest.raises(RefusedError, check=lambda error: error.code is code)


def test_a_member_asks_and_learns_ranks_bands_and_handles(opened: Clients) -> None:
    row = upload("west", test=3, undiagnosed=2).gallery.rows[4]
    answer = opened["east"].query(EPOCH, row)
    assert (answer.release, answer.epoch) == (RELEASE, EPOCH)
    assert answer.matches[0].token == handle(4)
    assert answer.matches[0].handle == handle(FIRST["west"] + 4)
    assert answer.matches[0].band == 1
    assert [match.rank for match in answer.matches] == list(range(1, 8))
    assert answer.left == Budget(200_000 - 26, 1_999)
    assert all(match.handle < handle(FIRST["west"]) for match in opened["west"].query(EPOCH, row).matches)


def test_what_travels_back_holds_no_similarity(opened: Clients) -> None:
    row = upload("west", test=3, undiagnosed=2).gallery.rows[4]
    content = ask(opened, "east", row.tobytes(), "5" * 64).json()
    assert set(content) == {"release", "epoch", "answers", "budgetLeft"}
    assert all(set(item) == {"rank", "token", "band", "handle"} for item in content["answers"])
    assert not [value for item in content["answers"] for value in item.values() if isinstance(value, float)]


def test_the_hub_and_a_member_see_how_the_epoch_stands(opened: Clients) -> None:
    opened["east"].query(EPOCH, unit(0, 1)[0])
    seen = opened["east"].status(EPOCH)
    assert seen.release == RELEASE
    assert seen.silos == {name: Counts(20, 2) for name in NAMES}
    assert seen.rotation_due == ()
    assert list(seen.budgets) == ["east"]
    assert seen.budgets["east"].spent == Budget(26, 1)
    assert seen.budgets["east"].limit == Budget(200_000, 2_000)
    assert set(opened["hub"].status(EPOCH).budgets) == set(NAMES)


def test_rows_come_in_parts_that_proxies_let_through(opened: Clients) -> None:
    rows = upload("north", gallery=6000, undiagnosed=100, first=5000, seed=3)
    pieces = list(parts(rows))
    assert len(pieces) > 2
    assert all(len(piece.encode()) <= MAX_PART_BYTES for piece in pieces)
    assert opened["north"].add_rows(EPOCH, rows) == Taken(6100, 0)
    assert opened["north"].add_rows(EPOCH, rows) == Taken(0, 6100)
    assert opened["hub"].status(EPOCH).silos["north"] == Counts(6020, 102)
    answer = opened["east"].query(EPOCH, rows.gallery.rows[5999])
    assert answer.matches[0].handle == handle(FIRST["north"] + 10999)
    with pytest.raises(FlakeError):
        opened["north"].add_rows(EPOCH, upload("north", test=1))


def test_a_withdrawal_takes_effect_at_once_and_over_a_restart(opened: Clients) -> None:
    row = upload("west", test=3, undiagnosed=2).gallery.rows[4]
    gone = handle(FIRST["west"] + 4)
    assert opened["east"].query(EPOCH, row).matches[0].handle == gone
    identity = opened.federation.silos["west"]
    assert opened["west"].withdraw(EPOCH, "west", [gone], identity) == 1
    assert gone not in [match.handle for match in opened["east"].query(EPOCH, row).matches]
    assert [due.cause for due in opened["east"].status(EPOCH).rotation_due] == [Cause.WITHDRAWAL]
    opened.federation.stop()
    opened.federation.start()  # the index is made anew from the file
    assert gone not in [match.handle for match in opened["east"].query(EPOCH, row).matches]
    with refusal(Code.SIGNATURE_INVALID):
        opened["west"].withdraw(EPOCH, "west", [gone], Identity.generate())
    with refusal(Code.SIGNATURE_INVALID):  # the statement is read as the caller's
        opened["east"].withdraw(EPOCH, "west", [gone], identity)
    with pytest.raises(FlakeError):
        opened["west"].withdraw(EPOCH, "west", [], identity)


def test_a_spent_budget_is_an_error_of_its_own(opened: Clients) -> None:
    opened["hub"].open(EPOCH, RELEASE, NAMES, budget=Budget(rows=1000, queries=1))
    opened["east"].query(EPOCH, unit(0, 1)[0])
    with pytest.raises(BudgetSpentError, match="own gallery"):
        opened["east"].query(EPOCH, unit(0, 1)[0])
    assert [due.cause for due in opened["hub"].status(EPOCH).rotation_due] == [Cause.BUDGET_SPENT]


def test_everybody_keeps_to_their_part(opened: Clients) -> None:
    row = unit(0, 1)[0]
    with refusal(Code.FORBIDDEN):
        opened["west"].open(EPOCH, RELEASE, ["west"])
    with refusal(Code.FORBIDDEN):
        opened["west"].take_rows(EPOCH, "west", round_uid=ROUND, digest="0" * 64)
    with refusal(Code.FORBIDDEN):
        opened["west"].delete(EPOCH)
    with refusal(Code.FORBIDDEN):
        opened["hub"].query(EPOCH, row)
    with refusal(Code.FORBIDDEN):
        opened["hub"].add_rows(EPOCH, upload("west"))
    with refusal(Code.FORBIDDEN):
        opened["hub"].withdraw(EPOCH, "west", [handle(1)], opened.federation.silos["west"])
    with opened.make("hub", round_uid=ROUND, role=Role.JOB) as job, refusal(Code.FORBIDDEN):
        job.query(EPOCH, row)
    opened["hub"].open(EPOCH, RELEASE, ["east", "north"])
    for attempt in (lambda: opened["west"].query(EPOCH, row), lambda: opened["west"].status(EPOCH)):
        with refusal(Code.NOT_IN_EPOCH):
            attempt()


def test_a_revoked_silo_and_one_with_a_new_identity_are_refused(opened: Clients) -> None:
    federation, row = opened.federation, unit(0, 1)[0]
    federation.revoked.add("west")
    federation.write_registry()
    with pytest.raises(RevokedError):
        opened["west"].query(EPOCH, row)
    federation.revoked.clear()
    federation.silos["west"] = Identity.generate()
    federation.write_registry()
    with opened.make("west") as west, refusal(Code.NOT_IN_EPOCH):
        west.query(EPOCH, row)


def test_the_hub_takes_only_what_the_owner_sent(opened: Clients) -> None:
    digest = opened.send("west", upload("west", first=700))
    with refusal(Code.FORBIDDEN):
        opened["hub"].take_rows(EPOCH, "east", round_uid=ROUND, digest=digest)
    with refusal(Code.BLOB_UNKNOWN):
        opened["hub"].take_rows(EPOCH, "west", round_uid=ROUND, digest="0" * 64)
    data = b"these are no rows"
    opened.federation.client("west").upload(ROUND, digest_of(data), data)
    with refusal(Code.ROWS_INVALID):
        opened["hub"].take_rows(EPOCH, "west", round_uid=ROUND, digest=digest_of(data))
    assert list(opened.federation.root.joinpath("epochs").glob("tmp*")) == []


def test_taking_rows_again_after_their_blob_was_deleted_is_no_error(opened: Clients) -> None:
    data = upload("west", test=3, undiagnosed=2).encode()
    opened.federation.client("hub").delete_blob(ROUND, digest_of(data))
    taken = opened["hub"].take_rows(EPOCH, "west", round_uid=ROUND, digest=digest_of(data))
    assert taken == Taken(0, 0)


def test_the_kernel_job_of_a_round_gets_a_gallery_without_what_was_withdrawn(opened: Clients) -> None:
    west = upload("west", test=3, undiagnosed=2)
    opened["west"].withdraw(EPOCH, "west", [handle(FIRST["west"])], opened.federation.silos["west"])
    adopting = {"newEpoch": False, "base": {"epoch": EPOCH}}
    opened.federation.open_round(round_uid="adopting", **adopting)
    with opened.make("hub", round_uid="adopting", role=Role.JOB) as job:
        found = job.gallery(EPOCH, "west")
        assert len(job.gallery(EPOCH, "nobody").gallery.rows) == 0
    assert np.array_equal(found.gallery.rows, west.gallery.rows[1:])
    assert np.array_equal(found.gallery.tokens, west.gallery.tokens[1:])
    assert np.array_equal(found.gallery.handles, west.gallery.handles[1:])
    assert (len(found.test.rows), len(found.undiagnosed.rows)) == (0, 0)
    with refusal(Code.FORBIDDEN):
        opened["east"].gallery(EPOCH, "west")


def test_a_job_reads_the_epoch_of_its_own_adopt_round_and_no_other(opened: Clients) -> None:
    open_round = opened.federation.open_round
    open_round(round_uid="other", newEpoch=False, base={"epoch": "c" * 64})
    open_round(round_uid="rotating", newEpoch=True, base={"epoch": EPOCH})
    open_round(round_uid="malformed", newEpoch=False, base=[EPOCH])
    for round_uid in (ROUND, "other", "rotating", "malformed", "not-begun"):
        with opened.make("hub", round_uid=round_uid, role=Role.JOB) as job, refusal(Code.FORBIDDEN):
            job.gallery(EPOCH, "west")
    with opened.make("hub", round_uid="other", role=Role.JOB) as job:
        with refusal(Code.EPOCH_UNKNOWN):
            job.gallery("c" * 64, "west")
        for call in (
            lambda: job.status(EPOCH),
            lambda: job.query(EPOCH, unit(0, 1)[0]),
            lambda: job.findings(EPOCH),
            lambda: job.discover(EPOCH),
            lambda: job.end(EPOCH, "d" * 64),
        ):
            with refusal(Code.FORBIDDEN):
                call()


def test_a_rotated_epoch_names_its_successor_to_members_and_hub(opened: Clients) -> None:
    successor = "d" * 64
    with refusal(Code.FORBIDDEN):
        opened["east"].end(EPOCH, successor)
    with refusal(Code.INVALID):
        opened["hub"].end(EPOCH, "no digest")
    opened["hub"].end(EPOCH, successor)
    opened["hub"].end(EPOCH, successor)
    for call in (
        lambda: opened["east"].query(EPOCH, unit(0, 1)[0]),
        lambda: opened["hub"].status(EPOCH),
        lambda: opened["hub"].open(EPOCH, RELEASE, list(FIRST)),
    ):
        with pytest.raises(EpochEndedError, match="was rotated") as caught:
            call()
        assert caught.value.successor == successor


def test_a_forgotten_epoch_is_unknown(opened: Clients) -> None:
    opened["hub"].delete(EPOCH)
    opened["hub"].delete(EPOCH)
    with pytest.raises(EpochUnknownError):
        opened["east"].query(EPOCH, unit(0, 1)[0])
    with pytest.raises(EpochUnknownError):
        opened["hub"].status(EPOCH)


def ask(clients: Clients, name: str, body: bytes, key: str | None) -> httpx.Response:
    return raw(clients, name, "POST", f"/v1/epochs/{EPOCH}/queries", body, key)


def raw(
    clients: Clients, name: str, method: str, path: str, body: bytes, key: str | None = None
) -> httpx.Response:
    federation = clients.federation
    signer = federation.hub if name == "hub" else federation.silos[name]
    role = Role.HUB if name == "hub" else Role.SILO
    headers = {"Authorization": f"Bearer {KeyCredential(signer, role, name, federation.hub.public).token()}"}
    if key is not None:
        headers["Idempotency-Key"] = key
    context = ssl.create_default_context(cafile=str(federation.tls.ca))
    with httpx.Client(verify=context, base_url=federation.url, trust_env=False) as http:
        return http.request(method, path, content=body, headers=headers)


def test_sizes_are_bounded_before_anything_is_read(opened: Clients) -> None:
    row = unit(0, 1)[0].tobytes()
    found = [
        ask(opened, "east", row + bytes(8), "0" * 64),
        ask(opened, "east", row[:-8], "0" * 64),
        ask(opened, "east", row, None),
        ask(opened, "east", row, "0" * 63),
        raw(opened, "east", "POST", f"/v1/epochs/{EPOCH}/rows", bytes(MAX_PART_BYTES + 1)),
        raw(opened, "east", "POST", f"/v1/epochs/{EPOCH}/tombstones", bytes(65_537)),
        raw(opened, "east", "POST", "/v1/epochs/xyz/queries", row, "0" * 64),
    ]
    assert [answer.json()["code"] for answer in found] == [
        "TooLarge",
        "RowsInvalid",
        "Invalid",
        "Invalid",
        "TooLarge",
        "TooLarge",
        "Invalid",
    ]
    assert opened["east"].status(EPOCH).budgets["east"].spent == Budget(25, 0)


MALFORMED_WITHDRAWALS: list[Any] = [
    {},
    [],
    {"handles": [], "signature": "00"},
    {"handles": ["00"], "signature": "00"},
    {"handles": [7], "signature": "00"},
    {"handles": ["zz"], "signature": "00"},
    {"handles": [handle(2).hex(), handle(1).hex()], "signature": "00" * 64},
    {"handles": [handle(1).hex()], "signature": None},
]
MALFORMED_EPOCHS: list[Any] = [
    {"release": "a1", "silos": ["west"]},
    {"release": RELEASE, "silos": []},
    {"release": RELEASE, "silos": ["west", "west"]},
    {"release": RELEASE, "silos": ["nobody"]},
    {"release": RELEASE, "silos": "west"},
    {"release": RELEASE, "silos": ["west"], "budget": {"rows": -1}},
    {"release": RELEASE, "silos": ["west"], "budget": {"rows": True}},
    {"release": RELEASE, "silos": ["west"], "budget": [1]},
    {"release": RELEASE, "silos": ["west"], "budgets": {}},
]


def test_what_is_malformed_is_refused_and_changes_nothing(opened: Clients) -> None:
    before = opened["hub"].status(EPOCH)
    for method, name, where, contents in (
        ("POST", "west", f"/v1/epochs/{EPOCH}/tombstones", MALFORMED_WITHDRAWALS),
        ("PUT", "hub", f"/v1/epochs/{EPOCH}", MALFORMED_EPOCHS),
    ):
        for content in contents:
            answer = raw(opened, name, method, where, json.dumps(content).encode())
            assert (answer.status_code, answer.json()["code"]) == (400, "Invalid"), content
    assert opened["hub"].status(EPOCH) == before


def test_an_answer_that_was_tampered_with_is_not_believed(opened: Clients) -> None:
    row = upload("west", test=3, undiagnosed=2).gallery.rows[4]
    good = ask(opened, "east", row.tobytes(), "5" * 64).json()
    parse_answer(json.dumps(good).encode(), EPOCH)
    first, second, *rest = good["answers"]
    for change in (
        {"epoch": "f" * 64},
        {"answers": [second, first, *rest]},
        {"answers": [first, {**first, "rank": 2}]},
        {"answers": [{**first, "band": 5}]},
        {"answers": [{**first, "band": 4}, {**second, "band": 1}]},
        {"answers": [{**first, "token": "00"}]},
        {"answers": [{**first, "rank": 1.0}]},
        {"answers": [{"rank": k + 1, **dict(first, token=handle(k).hex(), rank=k + 1)} for k in range(31)]},
        {"budgetLeft": {"rows": -1, "queries": 0}},
    ):
        with pytest.raises(UntrustedExchangeError):
            parse_answer(json.dumps({**good, **change}).encode(), EPOCH)
    with pytest.raises(UntrustedExchangeError):
        parse_answer(b"[" * 100_000, EPOCH)


def test_a_client_asks_with_float64_rows_only(opened: Clients) -> None:
    for row in (unit(0, 1), unit(0, 1)[0].astype(np.float32)):
        with pytest.raises(FlakeError):
            opened["east"].query(EPOCH, row)
    with refusal(Code.ROWS_INVALID):
        opened["east"].query(EPOCH, unit(0, 1, WIDTH - 1)[0])


def test_an_exchange_without_the_service_says_so(tmp_path: Path) -> None:
    hub = Identity.generate()
    write_registry(tmp_path / "silos.json", {"west": RegisteredSilo(Identity.generate().public)})
    storage = EmbeddedStorage(tmp_path / "board")
    app = create_app(ServerSettings(hub, tmp_path / "silos.json"), storage)
    token = KeyCredential(hub, Role.HUB, "hub", hub.public).token()

    async def status() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="https://hub") as http:
            return await http.get(f"/v1/epochs/{EPOCH}", headers={"Authorization": f"Bearer {token}"})

    answer = asyncio.run(status())
    storage.close()
    assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")
