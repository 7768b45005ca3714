"""What the exchange reads on the board: who belongs to a round, which key speaks for an enrolment."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from fedgestalt.crypto.delegation import Delegation, DelegationExpiredError
from fedgestalt.crypto.errors import SignatureError
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.server.state import ServerState
from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.messages import HUB, Kind, Message, Slot, verify

_MAX_COMPUTATION_BYTES: Final = 4 << 20


def slot_text(slot: Slot) -> str:
    """The canonical text of a slot within its round."""
    return json.dumps([slot.enrolment, slot.member, slot.t, slot.attempt, str(slot.kind), slot.sender])


def roster(state: ServerState, round_uid: str) -> dict[str, bytes] | None:
    """Silos of the round's computation with their identity keys; None before it is there. Blocking."""
    if round_uid in state.rosters:
        return state.rosters[round_uid]
    data = _computation(state, round_uid)
    if data is None:
        return None
    try:
        silos = json.loads(data)["silos"]
        found = {str(name): bytes.fromhex(identity) for name, identity in silos.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise refused(
            Code.MESSAGE_INVALID, f"the computation of round {round_uid} does not list its silos"
        ) from error
    state.rosters[round_uid] = found
    return found


def adopted_epoch(state: ServerState, round_uid: str) -> str | None:
    """The epoch (hex) that a round's newcomers join; None for a round that begins one of its own. Blocking."""
    data = _computation(state, round_uid)
    try:
        content = {} if data is None else json.loads(data)
        return None if content.get("newEpoch", True) else str(content["base"]["epoch"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _computation(state: ServerState, round_uid: str) -> bytes | None:
    """The blob of board message 0; None before it is there."""
    entry = state.storage.find(round_uid, slot_text(Slot(round_uid, 0, "", 0, 0, Kind.COMPUTATION, HUB)))
    if entry is None or not entry.complete:
        return None
    (digest, *_) = Message.decode(entry.data).blobs
    return state.storage.read_blob(round_uid, digest, 0, _MAX_COMPUTATION_BYTES)


def require_member(state: ServerState, round_uid: str, silo: str, identities: Collection[bytes]) -> bytes:
    """Refuse a silo that the round's computation does not name with one of these identities. Blocking.

    Returns:
        The identity that the round knows.

    Raises:
        RefusedError: RoundNotOpen or NotInRound.
    """
    members = roster(state, round_uid)
    if members is None:
        raise refused(Code.ROUND_NOT_OPEN, f"round {round_uid}")
    identity = members.get(silo)
    if identity is None or identity not in identities:
        raise refused(Code.NOT_IN_ROUND, f"silo {silo!r} in round {round_uid}")
    return identity


def delegated_key(state: ServerState, round_uid: str, enrolment: int, silo: str) -> bytes | None:
    """The signing key of a silo's accepted `enrol` message. Blocking."""
    key = (round_uid, enrolment, silo)
    if key not in state.delegated:
        slot = Slot(round_uid, enrolment, "", 0, 0, Kind.ENROL, silo)
        entry = state.storage.find(round_uid, slot_text(slot))
        if entry is None:
            return None
        state.delegated[key] = bytes(Message.decode(entry.data).body["signing"])
    return state.delegated[key]


def check_message(state: ServerState, message: Message, identity: bytes | None) -> None:
    """Check that a message is signed by the key that speaks for its sender. Blocking.

    Args:
        identity: the sender's identity in the round; None for the hub.

    Raises:
        RefusedError: SignatureInvalid, MessageInvalid or ClockSkewed.
    """
    slot = message.slot
    try:
        if identity is None:
            verify(message, state.hub_public)
        elif slot.kind is Kind.ENROL:
            verify(message, identity)
            _check_delegation(state, message, identity)
        else:
            key = delegated_key(state, slot.round, slot.enrolment, slot.sender)
            if key is None and slot.kind is Kind.FAULT:
                key = identity  # a silo that cannot even enrol (its grant does not fit) can say so
            if key is None:
                raise refused(
                    Code.SIGNATURE_INVALID, f"{slot.sender} has not enrolled in attempt {slot.enrolment}"
                )
            verify(message, key)
    except SignatureError as error:
        raise refused(Code.SIGNATURE_INVALID, str(error)) from error
    except DelegationExpiredError as error:
        raise refused(Code.CLOCK_SKEWED, str(error)) from error
    except MessageError as error:
        raise refused(Code.MESSAGE_INVALID, str(error)) from error


def _check_delegation(state: ServerState, message: Message, identity: bytes) -> None:
    slot, body = message.slot, message.body
    if body["identity"] != identity:
        raise SignatureError(f"{slot}: names another identity than the registered one")
    delegation = Delegation(
        round=slot.round,
        enrolment=slot.enrolment,
        name=slot.sender,
        signing=body["signing"],
        sealing=body["sealing"],
        not_after=body["not_after"],
    )
    delegation.verify(identity, body["delegation"], now=state.settings.clock())
