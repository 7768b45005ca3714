"""Deterministic names, at most 47 characters: creating one twice is seen, never repeated."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..api.task import TaskKind

MAX_NAME: Final = 47
MAX_SILO: Final = 20
MAX_MEMBER: Final = 12


@lru_cache(4096)  # asked for with every name, the same few uids each time
def short_uid(uid: str) -> str:
    """The first 8 hexadecimal digits of a uid.

    Raises:
        ValueError: the uid has fewer.
    """
    digits = "".join(c for c in uid.lower() if c in "0123456789abcdef")[:8]
    if len(digits) < 8:
        raise ValueError(f"uid {uid!r} has fewer than 8 hexadecimal digits; give the round a UUID")
    return digits


def task_name(uid: str, kind: TaskKind, silo: str, enrolment: int) -> str:
    """fg-<uid>-<kind>-<silo>-<enrolment>."""
    return _checked(f"fg-{short_uid(uid)}-{kind.value.lower()}-{silo}-{enrolment}")


def silo_of_task(name: str) -> str:
    """The silo in a name that `task_name` made: its kind has no hyphen, its enrolment is the last part."""
    return name.split("-", 3)[-1].rsplit("-", 1)[0]


def aggregate_name(uid: str, member: str, t: int, attempt: int, enrolment: int, restart: int) -> str:
    """fg-<uid>-aggregate-<member>-<t>-<try>-<enrolment>-<restart>."""
    return _checked(f"fg-{short_uid(uid)}-aggregate-{member}-{t}-{attempt}-{enrolment}-{restart}")


def kernel_name(uid: str, enrolment: int, restart: int) -> str:
    """fg-<uid>-kernel-<enrolment>-<restart>."""
    return _checked(f"fg-{short_uid(uid)}-kernel-{enrolment}-{restart}")


def _checked(name: str) -> str:
    if len(name) > MAX_NAME:
        raise ValueError(f"name {name!r} has {len(name)} characters; at most {MAX_NAME} are allowed")
    return name
