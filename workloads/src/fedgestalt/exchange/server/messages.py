"""Routes of the board's messages: post one, list them after a sequence number."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from fedgestalt.exchange.chain import Receipt
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.listing import Entry, Listing
from fedgestalt.exchange.listing import Page as WirePage
from fedgestalt.exchange.server.auth import (
    Authenticated,
    Caller,
    State,
    check_round,
    require_role,
)
from fedgestalt.exchange.server.bodies import CBOR, read_body
from fedgestalt.exchange.server.rounds import check_message, require_member, roster, slot_text
from fedgestalt.exchange.server.state import CHANGES, ServerState
from fedgestalt.exchange.server.waiting import MAX_WAIT
from fedgestalt.exchange.storage import Appended, NewMessage, Page
from fedgestalt.exchange.tokens import Role
from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.messages import MAX_MESSAGE_BYTES, Kind, Message

PAGE_BYTES: Final = 1 << 20
"""Envelope bytes of one page, unless a single message is larger: at most 1 MiB and 256 KiB travel at once."""

router = APIRouter()
Number = Annotated[int, Query(ge=0, lt=1 << 63)]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT)]


def topic(round_uid: str) -> str:
    """What waiters for a round's board wait for."""
    return f"board/{round_uid}"


@router.post("/rounds/{round_uid}/messages")
async def post_message(round_uid: str, request: Request, state: State, caller: Authenticated) -> Response:
    """Put an envelope (canonical CBOR) into its slot; answers with a receipt signed by the hub."""
    require_role(caller, Role.SILO, Role.HUB)
    check_round(caller, round_uid)
    data = await read_body(request, MAX_MESSAGE_BYTES)
    appended = await run_in_threadpool(_append, state, caller, round_uid, data)
    if appended.fresh:
        state.waiting.notify(topic(round_uid), CHANGES)
    receipt = _receipt(state, round_uid, appended)
    return Response(receipt, 201 if appended.fresh else 200, media_type=CBOR)


def _append(state: ServerState, caller: Caller, round_uid: str, data: bytes) -> Appended:
    try:
        message = Message.decode(data)
    except MessageError as error:
        raise refused(Code.MESSAGE_INVALID, str(error)) from error
    slot = message.slot
    if slot.round != round_uid:
        raise refused(Code.MESSAGE_INVALID, "the envelope belongs to another round")
    if slot.sender != caller.name:
        raise refused(Code.FORBIDDEN, f"{caller.name} may not post as {slot.sender}")
    identity = None
    if caller.role is Role.SILO:
        identity = require_member(state, round_uid, caller.name, caller.identities)
    check_message(state, message, identity)
    new = NewMessage(
        round_uid,
        slot_text(slot),
        caller.owner,
        data,
        message.blobs,
        decides=caller.role is Role.HUB,
        ends=caller.role is Role.HUB and slot.kind in (Kind.RELEASED, Kind.FAILED),
    )
    return state.storage.append(new, now=int(state.settings.clock() * 1000))


@router.get("/rounds/{round_uid}/messages")
async def list_messages(
    round_uid: str,
    state: State,
    caller: Authenticated,
    after: Number = 0,
    since: Number | None = None,
    wait: Wait = 0.0,
) -> Response:
    """Messages with a sequence number above ``after``, and completions after revision ``since``, if it is given.

    Waits up to ``wait`` seconds until there is something to say.
    """
    check_round(caller, round_uid)
    storage = state.storage

    def read() -> Page:
        # Before the computation is there a silo may wait for it, and sees nothing.
        if caller.role is Role.SILO:
            # Once more after the wait: a silo that was revoked meanwhile learns nothing new.
            valid = state.registry.identities(caller.name, now=state.settings.clock())
            if roster(state, round_uid) is None:
                return Page((), (), 0, 0, None)
            require_member(state, round_uid, caller.name, valid)
        return storage.page(round_uid, after=after, since=since, max_bytes=PAGE_BYTES)

    def ready(page: Page) -> bool:
        return bool(page.entries or page.completed)

    page = await state.waiting.until(topic(round_uid), lambda: run_in_threadpool(read), ready, wait)
    entries = tuple(Entry(item.seq, item.received, item.data, item.complete) for item in page.entries)
    listing = Listing(entries, page.completed, page.revision, page.head)
    receipt = b"" if page.last is None else _receipt(state, round_uid, page.last)
    return Response(WirePage(listing, receipt).encode(), media_type=CBOR)


def _receipt(state: ServerState, round_uid: str, place: Appended) -> bytes:
    receipt = Receipt(round_uid, place.seq, place.received, place.prev, place.hash)
    return receipt.signed(state.settings.hub_key).encode()
