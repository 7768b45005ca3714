"""Routes of the query service: epochs opened by the hub, rows, queries and withdrawals of its members."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from fedgestalt.exchange.epochs.parts import MAX_PART_BYTES
from fedgestalt.exchange.epochs.service import EpochService, require_rows
from fedgestalt.exchange.epochs.tombstone import MAX_HANDLES, Tombstone
from fedgestalt.exchange.epochs.values import Budget, Taken
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.server.auth import (
    DIGEST,
    ROUND,
    Authenticated,
    Caller,
    State,
    check_digest,
    require_role,
    require_unbound,
)
from fedgestalt.exchange.server.bodies import read_body, read_json_object
from fedgestalt.exchange.server.rounds import adopted_epoch
from fedgestalt.exchange.server.state import ServerState
from fedgestalt.exchange.storage.values import MAX_CHUNK_BYTES
from fedgestalt.exchange.tokens import Role
from fedgestalt.flake.errors import FlakeError

MAX_JSON_BYTES: Final = 64 * 1024
MAX_LETTERS_BYTES: Final = 256 * 1024
MAX_BUDGET: Final = 1 << 40
MAX_MEMBERS: Final = 128

router = APIRouter()


async def _service(request: Request) -> EpochService:
    service = request.app.state.epochs
    if service is None:
        raise refused(Code.NOT_FOUND, "this exchange has no query service")
    assert isinstance(service, EpochService)
    return service


Service = Annotated[EpochService, Depends(_service)]


def _check(caller: Caller, epoch: str, *roles: Role) -> None:
    require_role(caller, *roles)
    require_unbound(caller)
    if not DIGEST.fullmatch(epoch):
        raise refused(Code.INVALID, "an epoch is named by 64 lower-case hex digits")


@router.put("/epochs/{epoch}")
async def put_epoch(
    epoch: str, request: Request, state: State, service: Service, caller: Authenticated
) -> Response:
    """The hub opens an epoch or changes its release, members or budget. A silo that is left out has departed."""
    _check(caller, epoch, Role.HUB)
    content = await read_json_object(request, MAX_JSON_BYTES)
    if unknown := content.keys() - {"release", "silos", "budget"}:
        raise refused(Code.INVALID, f"unknown field {min(unknown)[:64]!r}")
    release = content.get("release")
    if not isinstance(release, str) or not DIGEST.fullmatch(release):
        raise refused(Code.INVALID, "release must be 64 lower-case hex digits")
    members = _members(state, content.get("silos"))
    budget = _budget(content.get("budget", {}))
    departed = await run_in_threadpool(
        service.open, epoch, release, members, budget, now=state.settings.clock()
    )
    return JSONResponse({"departed": list(departed)})


@router.get("/epochs/{epoch}")
async def get_epoch(epoch: str, service: Service, caller: Authenticated) -> Response:
    """Release, rows kept, reasons to rotate, and the caller's budget (for the hub: everybody's)."""
    _check(caller, epoch, Role.HUB, Role.SILO)
    if caller.role is Role.SILO:
        identity = await run_in_threadpool(_identity, service, epoch, caller)
        await run_in_threadpool(service.member, epoch, caller.name, identity)
    record, spent = await run_in_threadpool(service.store.full_record, epoch)
    budgets = {
        silo: {"spent": _pair(used), "limit": _pair(record.budget)}
        for silo, used in spent.items()
        if caller.role is Role.HUB or silo == caller.name
    }
    content: dict[str, Any] = {
        "epoch": record.epoch,
        "release": record.release,
        "silos": {
            silo: {"gallery": kept.gallery, "undiagnosed": kept.undiagnosed}
            for silo in record.members
            for kept in [record.counts_of(silo)]
        },
        "rotationDue": [
            {"cause": str(due.cause), "silo": due.silo, "since": due.since} for due in record.rotation_due
        ],
        "budgets": budgets,
    }
    if caller.role is Role.HUB:
        content["lookDue"] = record.look_due
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


@router.delete("/epochs/{epoch}")
async def delete_epoch(epoch: str, service: Service, caller: Authenticated) -> Response:
    """The hub forgets an epoch, which it may open again: rows go, queries are answered no more, the ledger stays."""
    _check(caller, epoch, Role.HUB)
    await run_in_threadpool(service.close_epoch, epoch)
    return Response(status_code=204)


@router.put("/epochs/{epoch}/successor")
async def end_epoch(
    epoch: str, request: Request, state: State, service: Service, caller: Authenticated
) -> Response:
    """The hub ends an epoch for good, since a release rotated it: ``{"release": hex}``, named to whoever asks."""
    _check(caller, epoch, Role.HUB)
    release = (await read_json_object(request, MAX_JSON_BYTES)).get("release")
    if not isinstance(release, str) or not DIGEST.fullmatch(release):
        raise refused(Code.INVALID, "release must be 64 lower-case hex digits")
    await run_in_threadpool(service.end_epoch, epoch, release, now=state.settings.clock())
    return Response(status_code=204)


@router.post("/epochs/{epoch}/rows/{owner}")
async def take_rows(
    epoch: str, owner: str, request: Request, state: State, service: Service, caller: Authenticated
) -> Response:
    """The hub takes the rows that a silo sent in a round into the epoch: ``{"round": uid, "digest": hex}``."""
    _check(caller, epoch, Role.HUB)
    content = await read_json_object(request, MAX_JSON_BYTES)
    round_uid, digest = content.get("round"), content.get("digest")
    if not isinstance(round_uid, str) or not ROUND.fullmatch(round_uid) or not isinstance(digest, str):
        raise refused(Code.INVALID, "expected the round's uid and the digest of the rows' blob")
    check_digest(digest)

    def take() -> Taken:
        if service.store.ingested(epoch, owner, digest):
            return Taken(0, 0)  # the hub may have deleted the blob since
        info = state.storage.blob(round_uid, digest)
        if info.owner != f"{Role.SILO}.{owner}":
            raise refused(Code.FORBIDDEN, f"blob {digest} was not sent by silo {owner!r}")
        if not info.length:
            raise refused(Code.ROWS_INVALID, f"blob {digest} is empty")
        with _mapped(state, service, round_uid, digest, info.length) as blob:
            return service.ingest(epoch, owner, digest, blob, now=state.settings.clock())

    return _taken(await run_in_threadpool(take))


@router.post("/epochs/{epoch}/rows")
async def add_rows(
    epoch: str, request: Request, state: State, service: Service, caller: Authenticated
) -> Response:
    """A member adds cases of its own between rounds: the encoding of `fedgestalt.flake.rows`, at most 1 MiB."""
    _check(caller, epoch, Role.SILO)
    identity = await run_in_threadpool(_identity, service, epoch, caller)
    data = await read_body(request, MAX_PART_BYTES)
    now = state.settings.clock()
    return _taken(await run_in_threadpool(service.add, epoch, caller.name, identity, data, now=now))


@router.get("/epochs/{epoch}/gallery/{owner}")
async def get_gallery(
    epoch: str, owner: str, state: State, service: Service, caller: Authenticated
) -> Response:
    """The masked gallery of one owner, for the hub's kernel job: newcomers are compared with it.

    A job reads the epoch that the computation of its own round has newcomers join, and no other.
    """
    require_role(caller, Role.HUB, Role.JOB)
    if not DIGEST.fullmatch(epoch):
        raise refused(Code.INVALID, "an epoch is named by 64 lower-case hex digits")
    if caller.round and epoch != await run_in_threadpool(adopted_epoch, state, caller.round):
        raise refused(Code.FORBIDDEN, f"no newcomer joins this epoch in round {caller.round}")
    data = await run_in_threadpool(service.gallery, epoch, owner)
    return Response(data, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})


@router.post("/epochs/{epoch}/queries")
async def ask(
    epoch: str,
    request: Request,
    state: State,
    service: Service,
    caller: Authenticated,
    key: Annotated[str, Header(alias="Idempotency-Key", pattern=r"^[0-9a-f]{64}$")],
) -> Response:
    """A member asks for the syndromes nearest to one masked row. The row is neither kept nor logged.

    ``Idempotency-Key``: 32 random bytes in hex, the same when the same query is sent again.
    """
    _check(caller, epoch, Role.SILO)
    identity = await run_in_threadpool(_identity, service, epoch, caller)
    record = await run_in_threadpool(service.member, epoch, caller.name, identity)
    row = await read_body(request, 8 * require_rows(record).width)
    answered = await run_in_threadpool(
        service.ask, epoch, caller.name, identity, row, bytes.fromhex(key), now=state.settings.clock()
    )
    content = {
        "release": answered.release,
        "epoch": epoch,
        "answers": [
            {
                "rank": match.rank,
                "token": match.token.hex(),
                "band": match.band,
                "handle": match.handle.hex(),
            }
            for match in answered.matches
        ],
        "budgetLeft": _pair(answered.left),
    }
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


@router.post("/epochs/{epoch}/discovery")
async def find_clusters(epoch: str, service: Service, caller: Authenticated) -> Response:
    """The hub looks for clusters of undiagnosed cases anew; every owner then finds its own findings."""
    _check(caller, epoch, Role.HUB)
    found = await run_in_threadpool(service.discover, epoch)
    return JSONResponse({"clusters": found}, headers={"Cache-Control": "no-store"})


@router.get("/epochs/{epoch}/findings")
async def get_findings(epoch: str, service: Service, caller: Authenticated) -> Response:
    """A member's own findings: its cases in clusters that reach over at least three owners, never others' cases."""
    _check(caller, epoch, Role.SILO)
    identity = await run_in_threadpool(_identity, service, epoch, caller)
    told = await run_in_threadpool(service.findings, epoch, caller.name, identity)
    return JSONResponse({"findings": told}, headers={"Cache-Control": "no-store"})


@router.put("/epochs/{epoch}/findings/{handle}/letters")
async def write_letters(
    epoch: str, handle: str, request: Request, service: Service, caller: Authenticated
) -> Response:
    """A member's key and letters to a finding's other owners: ``{"key": hex, "letters": {hex: hex}}``, all of one length."""
    _check(caller, epoch, Role.SILO)
    content = await read_json_object(request, MAX_LETTERS_BYTES)
    try:
        key, name = bytes.fromhex(content["key"]), bytes.fromhex(handle)
        letters = {bytes.fromhex(to): bytes.fromhex(letter) for to, letter in content["letters"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refused(Code.INVALID, "expected a handle, a key and letters by key, all in hex") from error
    identity = await run_in_threadpool(_identity, service, epoch, caller)
    await run_in_threadpool(service.write_letters, epoch, caller.name, identity, name, key, letters)
    return Response(status_code=204)


@router.get("/epochs/{epoch}/findings/{handle}/letters")
async def read_letters(epoch: str, handle: str, service: Service, caller: Authenticated) -> Response:
    """The keys of a finding's owners, and what each of them wrote to the caller, which only the caller can read."""
    _check(caller, epoch, Role.SILO)
    try:
        name = bytes.fromhex(handle)
    except ValueError as error:
        raise refused(Code.INVALID, "expected a handle in hex") from error
    identity = await run_in_threadpool(_identity, service, epoch, caller)
    post = await run_in_threadpool(service.read_letters, epoch, caller.name, identity, name)
    content = {
        "keys": [key.hex() for key in post.keys],
        "letters": {key.hex(): letter.hex() for key, letter in post.letters.items()},
    }
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


@router.post("/epochs/{epoch}/tombstones")
async def withdraw(
    epoch: str, request: Request, state: State, service: Service, caller: Authenticated
) -> Response:
    """A member withdraws cases: ``{"handles": [hex], "signature": hex}``, a `Tombstone` signed by its identity."""
    _check(caller, epoch, Role.SILO)
    content = await read_json_object(request, MAX_JSON_BYTES)
    try:
        listed = content["handles"]
        if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_HANDLES:
            raise refused(Code.INVALID, f"handles must be a list of 1 to {MAX_HANDLES}")
        tombstone = Tombstone(epoch, caller.name, tuple(bytes.fromhex(handle) for handle in listed))
        signature = bytes.fromhex(content["signature"])
    except FlakeError as error:
        raise refused(Code.INVALID, str(error)) from error
    except (KeyError, TypeError, ValueError) as error:
        raise refused(Code.INVALID, "expected handles and signature in hex") from error
    identity = await run_in_threadpool(_identity, service, epoch, caller)
    removed = await run_in_threadpool(
        service.withdraw, tombstone, signature, identity, now=state.settings.clock()
    )
    return JSONResponse({"removed": removed})


def _members(state: ServerState, names: Any) -> dict[str, bytes]:
    if (
        not isinstance(names, list)
        or not 1 <= len(names) <= MAX_MEMBERS
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) != len(names)
    ):
        raise refused(Code.INVALID, f"silos must be a list of 1 to {MAX_MEMBERS} different names")
    known = state.registry.silos()
    if strangers := sorted(set(names) - known.keys()):
        raise refused(Code.INVALID, f"silo {strangers[0][:64]!r} is not registered")
    now = state.settings.clock()
    found = {name: known[name].valid(now) for name in names}
    if expired := sorted(name for name, keys in found.items() if not keys):
        raise refused(Code.INVALID, f"no identity of silo {expired[0]!r} is valid any longer")
    return {name: keys[0] for name, keys in found.items()}


def _identity(service: EpochService, epoch: str, caller: Caller) -> bytes | None:
    """The identity under which the epoch knows the caller, if it is valid still. Blocking."""
    known = service.store.record(epoch).members.get(caller.name)
    return known if known in caller.identities else None


def _budget(content: Any) -> Budget:
    default = Budget()
    if not isinstance(content, dict) or content.keys() - {"rows", "queries"}:
        raise refused(Code.INVALID, "budget has rows and queries")
    rows, queries = content.get("rows", default.rows), content.get("queries", default.queries)
    if any(type(number) is not int or not 0 <= number <= MAX_BUDGET for number in (rows, queries)):
        raise refused(Code.INVALID, f"budget.rows and budget.queries are whole numbers up to {MAX_BUDGET}")
    return Budget(rows, queries)


def _pair(budget: Budget) -> dict[str, int]:
    return {"rows": budget.rows, "queries": budget.queries}


def _taken(taken: Taken) -> Response:
    return JSONResponse(
        {"stored": taken.stored, "present": taken.present, "withdrawn": taken.withdrawn},
        headers={"Cache-Control": "no-store"},
    )


@contextmanager
def _mapped(
    state: ServerState, service: EpochService, round_uid: str, digest: str, length: int
) -> Iterator[memoryview]:
    """A blob as memory that the system may take back: rows of a large silo do not fit twice."""
    with tempfile.TemporaryFile(dir=service.store.directory) as file:
        for start in range(0, length, MAX_CHUNK_BYTES):
            file.write(state.storage.read_blob(round_uid, digest, start, MAX_CHUNK_BYTES))
        file.flush()
        # Unmapped with its last view: arrays may outlive this block in a traceback.
        yield memoryview(mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ))
