"""The client of the query service: what a site's inference, its data steward and the hub use."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fedgestalt.crypto.keys import SigningKey
from fedgestalt.exchange.epochs.answers import (
    EpochStatus,
    QueryAnswer,
    parse_answer,
    parse_clusters,
    parse_departed,
    parse_findings,
    parse_post,
    parse_removed,
    parse_status,
    parse_taken,
)
from fedgestalt.exchange.epochs.letters import Post
from fedgestalt.exchange.epochs.parts import QUERY_KEY_BYTES, parts
from fedgestalt.exchange.epochs.tombstone import MAX_HANDLES, Tombstone
from fedgestalt.exchange.epochs.values import Budget, Taken
from fedgestalt.exchange.tokens import Credential
from fedgestalt.exchange.transport import Transport
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.finding import Finding
from fedgestalt.flake.rows import SiloRows


class EpochClient:
    """One caller of one exchange's query service. Synchronous, safe for threads."""

    def __init__(
        self,
        url: str,
        ca_file: Path,
        credential: Credential,
        *,
        deadline: float = 30.0,
        extra_ca: Path | None = None,
    ) -> None:
        """
        Args:
            url: ``https://host:port``.
            ca_file: the authority that the exchange's certificate descends from.
            extra_ca: authorities of a proxy that opens TLS; see :class:`Transport`.
            credential: the silo's identity or the hub's key; tokens of one round are refused.
            deadline: seconds that one call may take in all, retries included.
        """
        self._transport = Transport(url, ca_file, credential, deadline=deadline, extra_ca=extra_ca)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # A member's side

    def query(self, epoch: str, row: NDArray[np.float64]) -> QueryAnswer:
        """Ask for the syndromes nearest to one masked row, float64 [width] of length one.

        A retry of this call is the same query: it is counted once.

        Raises:
            BudgetSpentError, EpochUnknownError (EpochEndedError): answer from the site's own gallery.
            RefusedError: another refusal (NotInEpoch, EpochEmpty, RowsInvalid).
            UnreachableError: the hub does not answer.
            UntrustedExchangeError: the answer is not one of this protocol.
        """
        if row.dtype != np.float64 or row.ndim != 1:
            raise FlakeError(f"a query is float64 [width], not {row.dtype} {list(row.shape)}")
        response = self._transport.request(
            "POST",
            f"/epochs/{epoch}/queries",
            content=row.astype("<f8", copy=False).tobytes(),
            headers={
                "Content-Type": "application/octet-stream",
                "Idempotency-Key": secrets.token_hex(QUERY_KEY_BYTES),
            },
        )
        return parse_answer(response.content, epoch)

    def add_rows(self, epoch: str, rows: SiloRows) -> Taken:
        """Add the gallery and undiagnosed cases of this silo, in parts of at most 1 MiB. Idempotent.

        Raises:
            FlakeError: rows with tests, which no epoch takes.
            RefusedError: RowsInvalid, HandleTaken, HandleWithdrawn, BudgetSpent, NotInEpoch.
        """
        if len(rows.test.rows):
            raise FlakeError("test rows are for a round's evaluation; leave them out")
        total = Taken(0, 0)
        for part in parts(rows):
            response = self._transport.request(
                "POST",
                f"/epochs/{epoch}/rows",
                content=part.encode(),
                headers={"Content-Type": "application/octet-stream"},
            )
            taken = parse_taken(response.content)
            total += taken
        return total

    def withdraw(self, epoch: str, owner: str, handles: Iterable[bytes], identity: SigningKey) -> int:
        """Withdraw cases of this silo by handle and return how many rows went. Idempotent.

        Args:
            owner: this silo.
            identity: signs the statements that the hub keeps.

        Raises:
            FlakeError: no handles, or one of another length.
            RefusedError: NotInEpoch, EpochUnknown, SignatureInvalid.
        """
        ordered = sorted(set(handles))
        removed = 0
        for start in range(0, max(1, len(ordered)), MAX_HANDLES):
            tombstone = Tombstone(epoch, owner, tuple(ordered[start : start + MAX_HANDLES]))
            content = {
                "handles": [handle.hex() for handle in tombstone.handles],
                "signature": tombstone.sign(identity).hex(),
            }
            response = self._transport.request("POST", f"/epochs/{epoch}/tombstones", json=content)
            removed += parse_removed(response.content)
        return removed

    def findings(self, epoch: str) -> tuple[Finding, ...]:
        """The clusters of undiagnosed cases that this silo has a part in, strongest first.

        Raises:
            RefusedError: EpochUnknown, NotInEpoch.
            UntrustedExchangeError: the answer is not one of this protocol.
        """
        return parse_findings(self._transport.request("GET", f"/epochs/{epoch}/findings").content)

    def write_letters(self, epoch: str, finding: bytes, key: bytes, letters: Mapping[bytes, bytes]) -> None:
        """Put this silo's letters to a finding's other owners (`fedgestalt.flake.consent`) in place of its earlier ones.

        Raises:
            RefusedError: FindingUnknown, NotInEpoch, EpochUnknown, EpochEnded, Invalid.
        """
        content = {"key": key.hex(), "letters": {to.hex(): letter.hex() for to, letter in letters.items()}}
        self._transport.request("PUT", f"/epochs/{epoch}/findings/{finding.hex()}/letters", json=content)

    def read_letters(self, epoch: str, finding: bytes) -> Post:
        """The keys of a finding's owners and their letters to this silo; none before it has written itself.

        Raises:
            RefusedError: FindingUnknown, NotInEpoch, EpochUnknown, EpochEnded.
            UntrustedExchangeError: the answer is not one of this protocol.
        """
        path = f"/epochs/{epoch}/findings/{finding.hex()}/letters"
        return parse_post(self._transport.request("GET", path).content)

    # Everybody's

    def status(self, epoch: str) -> EpochStatus:
        """The epoch's release, rows, reasons to rotate, and the caller's budget."""
        response = self._transport.request("GET", f"/epochs/{epoch}")
        return parse_status(response.content, epoch)

    # The hub's side

    def open(
        self, epoch: str, release: str, silos: Sequence[str], *, budget: Budget | None = None
    ) -> tuple[str, ...]:
        """Open an epoch, or change its release, members or budget; return the silos that departed."""
        content: dict[str, Any] = {"release": release, "silos": list(silos)}
        if budget is not None:
            content["budget"] = {"rows": budget.rows, "queries": budget.queries}
        response = self._transport.request("PUT", f"/epochs/{epoch}", json=content)
        return parse_departed(response.content)

    def take_rows(self, epoch: str, owner: str, *, round_uid: str, digest: str) -> Taken:
        """Take the rows that a silo sent in a round (its blob's SHA-256 in hex) into the epoch. Idempotent."""
        content = {"round": round_uid, "digest": digest}
        response = self._transport.request("POST", f"/epochs/{epoch}/rows/{owner}", json=content)
        return parse_taken(response.content)

    def discover(self, epoch: str) -> int:
        """Look for clusters among the undiagnosed cases; how many there are. Owners then read their findings."""
        return parse_clusters(self._transport.request("POST", f"/epochs/{epoch}/discovery").content)

    def gallery(self, epoch: str, owner: str) -> SiloRows:
        """The masked gallery of one owner (without tests, in one split); for the hub and its jobs."""
        return SiloRows.decode(self._transport.request("GET", f"/epochs/{epoch}/gallery/{owner}").content)

    def end(self, epoch: str, successor: str) -> None:
        """End an epoch for good, rows and budgets with it; whoever asks is told ``successor``, a release. Idempotent."""
        self._transport.request("PUT", f"/epochs/{epoch}/successor", json={"release": successor})

    def delete(self, epoch: str) -> None:
        """Forget an epoch, which may be opened again and then goes on counting: its rows go. Idempotent."""
        self._transport.request("DELETE", f"/epochs/{epoch}")
