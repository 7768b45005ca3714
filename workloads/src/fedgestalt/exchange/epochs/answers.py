"""What the query service answers, read from untrusted JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fedgestalt.exchange.epochs.letters import MAX_KEYS, Post
from fedgestalt.exchange.epochs.values import Budget, Cause, Counts, RotationDue, Taken
from fedgestalt.exchange.errors import UntrustedExchangeError
from fedgestalt.flake.bands import BANDS
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.finding import Finding
from fedgestalt.flake.index import TOP, Match
from fedgestalt.flake.tokens import TOKEN_BYTES

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What the hub says to a query.

    Attributes:
        release: digest (hex) of the release that was asked.
        epoch: its epoch.
        matches: at most 30, from rank 1; without the asker's own cases.
        left: of the asker's budget in this epoch.
    """

    release: str
    epoch: str
    matches: tuple[Match, ...]
    left: Budget


@dataclass(frozen=True, slots=True)
class Spent:
    """What a silo has spent of its budget."""

    spent: Budget
    limit: Budget


@dataclass(frozen=True, slots=True)
class EpochStatus:
    """An epoch as the hub describes it; ``budgets`` has the caller's own, for the hub everybody's.

    ``look_due`` is for the hub alone: cases went since it looked for clusters.
    """

    epoch: str
    release: str
    silos: Mapping[str, Counts]
    rotation_due: tuple[RotationDue, ...]
    budgets: Mapping[str, Spent]
    look_due: bool = False


def parse_answer(data: bytes, epoch: str) -> QueryAnswer:
    """Read the answer to a query of ``epoch``.

    Raises:
        UntrustedExchangeError: malformed: another epoch, more than 30 matches, ranks that are not 1, 2, ..., a token
            twice, bands that are none or come nearer with the rank.
    """

    def read(content: Any) -> QueryAnswer:
        matches = tuple(
            Match(
                _whole(item["rank"]),
                _name(item["token"]),
                _whole(item["band"]),
                _name(item["handle"]),
            )
            for item in content["answers"]
        )
        bands = [match.band for match in matches]
        _require(len(matches) <= TOP)
        _require([match.rank for match in matches] == list(range(1, len(matches) + 1)))
        _require(len({match.token for match in matches}) == len(matches))
        _require(bands == sorted(bands) and all(1 <= band <= BANDS for band in bands))
        _require(content["epoch"] == epoch)
        return QueryAnswer(str(content["release"]), epoch, matches, _budget(content["budgetLeft"]))

    return _parse(data, read, "answer to a query")


def parse_status(data: bytes, epoch: str) -> EpochStatus:
    """Read the description of ``epoch``.

    Raises:
        UntrustedExchangeError: malformed.
    """

    def read(content: Any) -> EpochStatus:
        _require(content["epoch"] == epoch)
        return EpochStatus(
            epoch=epoch,
            release=str(content["release"]),
            silos={
                str(silo): Counts(_whole(kept["gallery"]), _whole(kept["undiagnosed"]))
                for silo, kept in content["silos"].items()
            },
            rotation_due=tuple(
                RotationDue(Cause(due["cause"]), str(due["silo"]), float(due["since"]))
                for due in content["rotationDue"]
            ),
            budgets={
                str(silo): Spent(_budget(entry["spent"]), _budget(entry["limit"]))
                for silo, entry in content["budgets"].items()
            },
            look_due=content.get("lookDue") is True,
        )

    return _parse(data, read, "description of an epoch")


def parse_taken(data: bytes) -> Taken:
    """Read what came of rows.

    Raises:
        UntrustedExchangeError: malformed.
    """
    names = ("stored", "present", "withdrawn")
    return _parse(data, lambda content: Taken(*(_whole(content[name]) for name in names)), "answer to rows")


def parse_removed(data: bytes) -> int:
    """Read how many rows a withdrawal removed.

    Raises:
        UntrustedExchangeError: malformed.
    """
    return _parse(data, lambda content: _whole(content["removed"]), "answer to a withdrawal")


def parse_clusters(data: bytes) -> int:
    """Read how many clusters were found.

    Raises:
        UntrustedExchangeError: malformed.
    """
    return _parse(data, lambda content: _whole(content["clusters"]), "answer to discovery")


def parse_findings(data: bytes) -> tuple[Finding, ...]:
    """Read a silo's findings.

    Raises:
        UntrustedExchangeError: malformed.
    """

    def read(content: Any) -> tuple[Finding, ...]:
        try:
            return tuple(Finding.from_json(told) for told in content["findings"])
        except FlakeError as error:
            raise ValueError(str(error)) from error

    return _parse(data, read, "list of findings")


def parse_post(data: bytes) -> Post:
    """Read the keys and letters of a finding.

    Raises:
        UntrustedExchangeError: malformed.
    """

    def read(content: Any) -> Post:
        keys = tuple(bytes.fromhex(key) for key in content["keys"])
        letters = {bytes.fromhex(key): bytes.fromhex(letter) for key, letter in content["letters"].items()}
        _require(len(keys) <= MAX_KEYS and letters.keys() <= set(keys))
        return Post(keys, letters)

    return _parse(data, read, "letters of a finding")


def parse_departed(data: bytes) -> tuple[str, ...]:
    """Read which silos departed.

    Raises:
        UntrustedExchangeError: malformed.
    """
    return _parse(data, lambda content: tuple(map(str, content["departed"])), "answer to an epoch")


def _parse(data: bytes, read: Callable[[Any], T], what: str) -> T:
    try:
        return read(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UntrustedExchangeError(f"the exchange's {what} is malformed") from error


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("not an answer of this protocol")


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("not a whole number")
    return value


def _name(value: Any) -> bytes:
    name = bytes.fromhex(value)
    _require(len(name) == TOKEN_BYTES)
    return name


def _budget(content: Any) -> Budget:
    return Budget(_whole(content["rows"]), _whole(content["queries"]))
