"""Withdrawing a case: out of the site's gallery and every later round, and out of the federation's gallery at once.

What is undone: the case's rows at the hub and everything computed from them, its place in the site's own gallery, its use in
later rounds. What is not: weights that were trained on it, answers that were given, and rows that a hub kept against its
word; a Rotate round gives the next epoch another frame.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import Code, ExchangeError, RefusedError
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.files import write_atomic
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.matching import GALLERY, HANDLES

_EPOCH = "epoch.json"


class WithdrawalError(Exception):
    """The case is unknown, or the hub could not be told; the message says what to do."""


@dataclass(frozen=True)
class Withdrawn:
    """What was done: photos that are out of use, rows that went at the hub, releases whose epoch is due for rotation."""

    photos: tuple[str, ...]
    rows: int
    releases: tuple[str, ...]


def withdrawn_photos(site: SiteConfig) -> frozenset[str]:
    """Photos (as the cohort's manifest names them) that this site uses no more."""
    try:
        return frozenset(json.loads(site.withdrawn.read_text())["photos"])
    except FileNotFoundError:
        return frozenset()


def withdraw(site: SiteConfig, case: str, *, deadline: float = 30.0) -> Withdrawn:
    """Withdraw a patient (by identifier) or one photo (by its name in the manifest). Repeating it is harmless.

    First the site's own list is on disk, then its galleries change, then the hub is told: whatever a crash cuts off, the
    case is not used again, and calling this again does the rest.

    Args:
        site: where the case is.
        case: as a manifest of the site names it.
        deadline: seconds that one call of the hub may take.

    Raises:
        WithdrawalError: no cohort of the site lists the case, or the hub does not answer.
    """
    photos = _photos_of(site, case)
    if not photos:
        raise WithdrawalError(
            f"no cohort of {site.name} lists a patient or photo {case!r}; give the name that manifest.csv has"
        )
    known = withdrawn_photos(site) | photos
    write_atomic(site.withdrawn, json.dumps({"photos": sorted(known)}, indent=2).encode())
    handles: dict[str, set[bytes]] = {}
    folders: dict[str, list[Path]] = {}
    for folder in sorted(site.releases.glob("[0-9a-f]*")):
        about = json.loads((folder / "release.json").read_text())
        names: dict[str, str] = (
            json.loads((folder / HANDLES).read_text()) if (folder / HANDLES).exists() else {}
        )
        found = {bytes.fromhex(names[photo]) for photo in photos if photo in names}
        if found:
            handles.setdefault(about["epoch"], set()).update(found)
            folders.setdefault(about["epoch"], []).append(folder)
            _shrink(folder / GALLERY, found)
    rows, releases = 0, list[str]()
    for epoch, gone in sorted(handles.items()):
        rows += _tell(site, epoch, gone, folders[epoch], deadline)
        releases += [folder.name for folder in folders[epoch]]
    return Withdrawn(tuple(sorted(photos)), rows, tuple(releases))


def _photos_of(site: SiteConfig, case: str) -> set[str]:
    found = set[str]()
    for cohort in site.datasets.values():
        try:
            with (cohort / "manifest.csv").open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if case in (row["patient"], row["image"])]
        except (OSError, KeyError) as error:
            raise WithdrawalError(f"{cohort / 'manifest.csv'}: cannot be read ({error})") from error
        found.update(row["image"] for row in rows)
    return found


def _shrink(path: Path, handles: set[bytes]) -> None:
    """Take cases out of a gallery file."""
    if not path.exists():
        return
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    keep = [i for i, handle in enumerate(arrays["handles"]) if handle.tobytes() not in handles]
    if len(keep) == len(arrays["handles"]):
        return
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{name: array[keep] for name, array in arrays.items()})
    write_atomic(path, buffer.getvalue())


def _tell(
    site: SiteConfig, epoch: str, handles: Iterable[bytes], folders: Iterable[Path], deadline: float
) -> int:
    """Post the tombstones of one epoch and note beside its releases that it is due for rotation; rows that went."""
    identity = Identity.load(site.identity_file)
    credential = KeyCredential(identity, Role.SILO, site.name, site.hub_key)
    try:
        with EpochClient(site.exchange_url, site.ca_file, credential, deadline=deadline) as client:
            rows = client.withdraw(epoch, site.name, handles, identity)
            status = client.status(epoch)
    except RefusedError as error:
        if error.code in (Code.EPOCH_UNKNOWN, Code.NOT_IN_EPOCH):
            return 0  # the epoch has ended, or this silo has departed from it: its rows are gone
        raise WithdrawalError(f"the hub refused: {error}") from error
    except ExchangeError as error:
        raise WithdrawalError(
            f"the case is out of use here, but the hub does not know yet ({error}). Call withdraw again."
        ) from error
    due = [{"cause": str(d.cause), "silo": d.silo, "since": d.since} for d in status.rotation_due]
    for folder in folders:
        write_atomic(folder / _EPOCH, json.dumps({"rotationDue": due}).encode())
    return rows
