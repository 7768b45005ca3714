"""What the body of each kind of message holds: every field required, none besides, every size bounded."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from fedgestalt.secagg.errors import MessageError
from fedgestalt.secagg.kinds import HUB, FaultReason, Kind

MAX_SILOS: Final = 128
NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""Names of silos: DNS labels, so that they fit Kubernetes objects."""

Check = Callable[[Any], None]


class _FieldError(Exception):
    """What is wrong with a field."""


def _exact_bytes(size: int) -> Check:
    def check(value: Any) -> None:
        if type(value) is not bytes or len(value) != size:
            raise _FieldError(f"must be {size} bytes")

    return check


def _bytes(most: int) -> Check:
    def check(value: Any) -> None:
        if type(value) is not bytes or len(value) > most:
            raise _FieldError(f"must be at most {most} bytes")

    return check


def _text(most: int) -> Check:
    def check(value: Any) -> None:
        if type(value) is not str or len(value) > most:
            raise _FieldError(f"must be text of at most {most} characters")

    return check


def _number(least: int, most: int) -> Check:
    def check(value: Any) -> None:
        if type(value) is not int or not least <= value <= most:
            raise _FieldError(f"must be an integer from {least} to {most}")

    return check


def _one_of(*allowed: Any) -> Check:
    def check(value: Any) -> None:
        if type(value) is bool or value not in allowed:
            raise _FieldError("must be one of " + ", ".join(str(a) for a in allowed))

    return check


def silo_name(value: Any) -> None:
    """Raise unless ``value`` is a possible name of a silo."""
    if type(value) is not str or not NAME.fullmatch(value) or value == HUB:
        raise _FieldError("must be a silo's name (a DNS label other than 'hub')")


def _silos(value: Any) -> None:
    if type(value) is not list or not 0 < len(value) <= MAX_SILOS:
        raise _FieldError(f"must be a list of 1 to {MAX_SILOS} silos")
    for name in value:
        silo_name(name)
    if value != sorted(set(value)):
        raise _FieldError("must be sorted, without repetition")


def _silos_or_none(value: Any) -> None:
    if value != []:
        _silos(value)


def _per_silo(item: Check) -> Check:
    def check(value: Any) -> None:
        if type(value) is not dict or len(value) > MAX_SILOS:
            raise _FieldError(f"must be a map of at most {MAX_SILOS} silos")
        for name, entry in value.items():
            silo_name(name)
            item(entry)

    return check


_DIGEST: Final = _exact_bytes(32)
_KEY: Final = _exact_bytes(32)
_SEALED: Final = _bytes(512)
_WORD: Final = _text(64)
_COUNT: Final = _number(0, 1 << 40)

SCHEMAS: Final[Mapping[Kind, Mapping[str, Check]]] = {
    Kind.COMPUTATION: {"digest": _DIGEST},
    Kind.ENROL: {
        "identity": _KEY,
        "signing": _KEY,
        "sealing": _KEY,
        "not_after": _number(0, 1 << 40),
        "delegation": _exact_bytes(64),
        "commitment": _DIGEST,
        "weight": _number(1, 1 << 40),
    },
    Kind.ROSTER: {"silos": _silos},
    Kind.ENDORSE: {"h": _DIGEST},
    Kind.OPENING: {"sealed": _per_silo(_SEALED)},
    Kind.CONFIRM: {"mac": _exact_bytes(32)},
    Kind.ENROLLED: {"h": _DIGEST, "silos": _silos},
    Kind.VOID: {"reason": _WORD, "lost": _silos_or_none},
    Kind.ADMIT: {"epoch": _DIGEST, "newcomers": _per_silo(_KEY)},
    Kind.WELCOME: {"sealed": _per_silo(_SEALED)},
    Kind.KEYS: {"public": _KEY, "model": _DIGEST},
    Kind.KEYSET: {"silos": _silos},
    Kind.SHARES: {"sealed": _per_silo(_SEALED)},
    Kind.SENDERS: {"silos": _silos},
    Kind.MASKED: {"digest": _DIGEST, "length": _number(16, 1 << 34)},
    Kind.SURVIVORS: {"silos": _silos},
    Kind.ACCEPT: {"ctx": _DIGEST, "silos": _silos},
    Kind.REVEAL: {"self": _per_silo(_bytes(256)), "pair": _per_silo(_KEY)},
    Kind.AGGREGATE: {"digest": _DIGEST, "silos": _silos},
    Kind.MODEL: {"hash": _DIGEST},
    Kind.ADVANCE: {"hash": _DIGEST, "silos": _silos},
    Kind.RETRY: {"reason": _WORD, "scale": _one_of(1, 16)},
    Kind.SKIP: {"reason": _WORD},
    Kind.STAGE: {},
    Kind.ROWS: {
        "gallery": _COUNT,
        "test": _COUNT,
        "undiagnosed": _COUNT,
        "digest": _DIGEST,
        "bundle": _DIGEST,
        "sealed": _DIGEST,
        "epoch_check": _DIGEST,
        "data": _DIGEST,
    },
    Kind.ROWS_CLOSED: {"silos": _silos},
    Kind.RANKINGS: {"owners": _per_silo(_DIGEST)},
    Kind.SCORE: {"table": _bytes(128 * 1024)},
    Kind.MANIFEST: {"digest": _DIGEST},
    Kind.SIGN: {"digest": _DIGEST, "signature": _exact_bytes(64)},
    Kind.RELEASED: {"digest": _DIGEST, "signers": _silos},
    Kind.FAILED: {"reason": _WORD, "message": _text(2000)},
    Kind.FAULT: {"reason": _one_of(*FaultReason), "detail": _text(1000)},
}


def check_body(kind: Kind, body: Mapping[str, Any]) -> None:
    """Check the body of a message.

    Raises:
        MessageError: a field is missing, unknown, of another type or too large; the message names it.
    """
    schema = SCHEMAS[kind]
    if body.keys() != schema.keys():
        odd = sorted(body.keys() ^ schema.keys())
        raise MessageError(f"{kind}: fields {odd} are missing or unknown; it has {sorted(schema)}")
    for field, check in schema.items():
        try:
            check(body[field])
        except _FieldError as refused:
            raise MessageError(f"{kind}: field {field!r} {refused}") from None


def check_name(name: str) -> None:
    """Check a silo's name.

    Raises:
        MessageError: it is no DNS label, or ``hub``.
    """
    try:
        silo_name(name)
    except _FieldError as refused:
        raise MessageError(f"silo {name!r}: {refused}") from None
