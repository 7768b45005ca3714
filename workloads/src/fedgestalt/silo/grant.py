"""The site's ParticipationGrants as files: what the data steward wrote, validated as an API server would.

What a grant means is decided in one place for agent and operator, :mod:`fedgestalt_operator.plan.grants`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedgestalt_operator.api.grant import KIND, ParticipationGrant, parse_grant
from fedgestalt_operator.kube.documents import DocumentError
from fedgestalt_operator.kube.validate import InvalidDocumentError, validate_file
from fedgestalt_operator.plan import handover

log = logging.getLogger(__name__)

_Mark = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Grants:
    """The grants that can be used, by key (see :func:`grant_key`), and what is wrong with the other files."""

    usable: dict[str, ParticipationGrant]
    problems: tuple[str, ...] = ()


def grant_key(grant: ParticipationGrant) -> str:
    """What the ledger calls a grant."""
    return handover.grant_key(grant.metadata.name, grant.metadata.uid)


class GrantFiles:
    """Reads one YAML file of grants, or a folder of them (``*.yaml``); anew only where a file changed. Safe for threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[_Mark, list[ParticipationGrant], str]] = {}
        self._said: tuple[str, ...] = ()

    def read(self) -> Grants:
        """All grants as they stand now. One that cannot be read hides no other one; what is wrong is logged once."""
        with self._lock:
            fresh = {path: entry for path in self._files() if (entry := self._read(path)) is not None}
            self._known = fresh
            listed = (grant for _, grants, _ in fresh.values() for grant in grants)
            usable, twice = _by_key(listed)
            problems = tuple([problem for _, _, problem in fresh.values() if problem] + twice)
            if not fresh:
                problems = (f"{self._path}: there is no grant. Without one nothing runs at this site.",)
            if problems != self._said:
                for problem in problems:
                    log.error("%s", problem)
                self._said = problems
            return Grants(usable, problems)

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path]
        return sorted(p for p in self._path.glob("*.yaml") if not p.name.startswith("."))

    def _read(self, path: Path) -> tuple[_Mark, list[ParticipationGrant], str] | None:
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return (0, 0, 0), [], f"{path}: {error.strerror}. The grant is not used."
        mark = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = self._known.get(path)
        if known is not None and known[0] == mark:
            return known
        try:
            return mark, [parse_grant(document) for document in validate_file(path)], ""
        except (DocumentError, InvalidDocumentError, ValueError) as error:
            return mark, [], f"{error}. The grant is not used; see `fedgestalt validate`."


def _by_key(grants: Iterable[ParticipationGrant]) -> tuple[dict[str, ParticipationGrant], list[str]]:
    """By key; of two with one name and no uid neither is used, for the ledger could not tell them apart."""
    usable: dict[str, ParticipationGrant] = {}
    twice: set[str] = set()
    for grant in grants:
        key = grant_key(grant)
        if key in usable:
            twice.add(key)
        usable[key] = grant
    for key in twice:
        del usable[key]
    return usable, [f"{KIND} {key.partition(':')[2]}: is there twice; rename one" for key in sorted(twice)]
