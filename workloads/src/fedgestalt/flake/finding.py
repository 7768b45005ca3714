"""A cluster inside the kernel job, and the little of it that one of its owners is told."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Final, Self

from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.tokens import TOKEN_BYTES

#: The most undiagnosed cases of all owners together.
MOST_CASES: Final = 6_000
#: Lower ends of the bands in which an owner is told numbers.
OWNER_BANDS: Final = (3, 5, 9, 17)
CASE_BANDS: Final = (3, 6, 11, 21)
#: How much rarer by chance than the cut a cluster's best triple is, for band 2 and band 1.
COHESION_STEPS: Final = (10.0, 100.0)

Band = tuple[int, int | None]


@dataclass(frozen=True)
class Finding:
    """What one owner is told of one cluster.

    Attributes:
        handle: 16 bytes, the owner's name for the cluster; other owners have other names for it.
        mine: the owner's own photo handles in the cluster, ascending.
        owners, cases: the least and the most there are of them, the owner's own included; None is "or more".
        cohesion: 1 (strongest) to 3 (just strong enough to be told).
    """

    handle: bytes
    mine: tuple[bytes, ...]
    owners: Band
    cases: Band
    cohesion: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values, bytes as hexadecimal."""
        return {
            "handle": self.handle.hex(),
            "mine": [handle.hex() for handle in self.mine],
            "owners": list(self.owners),
            "cases": list(self.cases),
            "cohesion": self.cohesion,
        }

    @classmethod
    def from_json(cls, told: Any) -> Self:
        """Read what an untrusted hub says.

        Raises:
            FlakeError: anything that `to_json` would not write; the message names the field.
        """
        if not isinstance(told, dict) or set(told) != {"handle", "mine", "owners", "cases", "cohesion"}:
            raise FlakeError("a finding has the fields handle, mine, owners, cases and cohesion, no others")
        mine = told["mine"]
        if not isinstance(mine, list) or not 0 < len(mine) <= MOST_CASES:
            raise FlakeError("a finding's mine is a list of at least one handle")
        if type(told["cohesion"]) is not int or not 1 <= told["cohesion"] <= 1 + len(COHESION_STEPS):
            raise FlakeError(f"a finding's cohesion is 1 to {1 + len(COHESION_STEPS)}")
        bands: list[Band] = []
        for name, starts in (("owners", OWNER_BANDS), ("cases", CASE_BANDS)):
            known = [_band(start, starts) for start in starts]
            if not isinstance(told[name], list) or tuple(told[name]) not in known:
                raise FlakeError(f"a finding's {name} is one of {[list(each) for each in known]}")
            bands.append(known[known.index(tuple(told[name]))])
        handles = tuple(_handle("mine", text) for text in mine)
        if list(handles) != sorted(set(handles)):
            raise FlakeError("a finding's mine has each handle once, ascending")
        return cls(_handle("handle", told["handle"]), handles, bands[0], bands[1], told["cohesion"])


@dataclass(frozen=True)
class Cluster:
    """A cluster as the kernel job sees it; it never leaves the job.

    Attributes:
        key: 32 bytes from which the owners' handles of the cluster derive.
        members: (owner, photo handle), ascending.
        cohesion: 1 (strongest) to 3.
    """

    key: bytes
    members: tuple[tuple[str, bytes], ...]
    cohesion: int

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners that have a case in it, ascending."""
        return tuple(sorted({owner for owner, _ in self.members}))

    def handle(self, owner: str) -> bytes:
        """The name by which ``owner`` knows this cluster, 16 bytes."""
        message = b"fedgestalt/flake/cluster-owner/v1\0" + owner.encode()
        return hmac.new(self.key, message, hashlib.sha256).digest()[:TOKEN_BYTES]

    def for_owner(self, owner: str) -> Finding:
        """All that ``owner`` may know.

        Raises:
            FlakeError: it has no case in this cluster.
        """
        mine = tuple(handle for name, handle in self.members if name == owner)
        if not mine:
            raise FlakeError(f"{owner} has no case in this cluster; ask only for its owners")
        owners = _band(len(self.owners), OWNER_BANDS)
        return Finding(self.handle(owner), mine, owners, _band(len(self.members), CASE_BANDS), self.cohesion)


def _handle(field: str, text: Any) -> bytes:
    if not isinstance(text, str) or not re.fullmatch(f"[0-9a-f]{{{2 * TOKEN_BYTES}}}", text):
        raise FlakeError(f"a finding's {field}: a handle is {2 * TOKEN_BYTES} hexadecimal digits")
    return bytes.fromhex(text)


def _band(number: int, starts: tuple[int, ...]) -> Band:
    place = sum(number >= start for start in starts)
    return starts[place - 1], starts[place] - 1 if place < len(starts) else None
