"""Withdrawing a case: out of the site's gallery and every later round, and out of the federation's gallery at once.

What is undone: the case's rows at the hub and everything computed from them, its place in the site's own gallery, its use in
later rounds. What is not: weights that were trained on it, answers that were given, and rows that a hub kept against its
word; a Rotate round gives the next epoch another frame.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import Code, EpochEndedError, ExchangeError, RefusedError
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.files import private_directory, write_atomic
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.lock import site_lock
from fedgestalt.silo.matching import GALLERY, HANDLES

_EPOCH, _SAID = "epoch.json", "withdrawn-said.json"
_OPENING_SECONDS = 86_400.0
_AGAIN = "the case is out of use here, but the hub does not know yet ({}). Call withdraw again; the agent tries as well."


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
        WithdrawalError: the site knows no such case, or the hub does not answer.
    """
    with site_lock(private_directory(site.directory / "withdrawals")):
        photos = _photos_of(site, case)
        if not photos:
            raise WithdrawalError(
                f"no cohort or release of {site.name} has a patient or photo {case!r}; give the name that manifest.csv has"
            )
        known = withdrawn_photos(site) | photos
        write_atomic(site.withdrawn, json.dumps({"photos": sorted(known)}, indent=2).encode())
        touched = {
            epoch: [folder for folder in folders if shrink(site, folder) or photos & _names(folder)]
            for epoch, folders in _epochs(site).items()
        }  # out of use here in every epoch, before the hub is asked for any
        rows, releases = _tell_all(site, touched, deadline)
    return Withdrawn(tuple(sorted(photos)), rows, tuple(releases))


def settle(site: SiteConfig, *, deadline: float = 30.0) -> None:
    """Tell the hub of withdrawals that it has not acknowledged: one that was made while a round was on its way.

    Raises:
        WithdrawalError: the hub does not answer; call again later.
    """
    if not withdrawn_photos(site):
        return
    with site_lock(private_directory(site.directory / "withdrawals")):
        epochs = _epochs(site)
        for folder in _folders(site):
            shrink(site, folder)  # a kill, or a release that was just being kept, may have come in between
        waiting = {epoch: [f for f in folders if _unsaid(site, f)] for epoch, folders in epochs.items()}
        _tell_all(site, waiting, deadline)


def shrink(site: SiteConfig, folder: Path) -> bool:
    """Take withdrawn cases out of a release's gallery at this site; whether there were any."""
    gone, path = withdrawn_photos(site), folder / GALLERY
    if not gone or not path.exists():
        return False
    with np.load(path, allow_pickle=False) as file:
        photos = file["photos"]
        keep = [i for i, photo in enumerate(photos) if str(photo) not in gone]
        if len(keep) == len(photos):
            return False
        arrays = {name: file[name] for name in file.files}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{name: array[keep] for name, array in arrays.items()})
    write_atomic(path, buffer.getvalue())
    return True


def _photos_of(site: SiteConfig, case: str) -> set[str]:
    """Photos of a case in the cohorts, and in releases for one whom the cohort lists no more."""
    found = set[str]()
    for cohort in site.datasets.values():
        try:
            with (cohort / "manifest.csv").open(newline="") as file:
                for row in csv.DictReader(file):
                    image = manifest_name(row["image"])
                    if case in (row["patient"].strip(), row["image"], image):
                        found.add(image)
        except (OSError, KeyError) as error:
            raise WithdrawalError(f"{cohort / 'manifest.csv'}: cannot be read ({error})") from error
    for folder in _folders(site):
        if (folder / GALLERY).exists():
            with np.load(folder / GALLERY, allow_pickle=False) as file:
                pairs = zip(file["photos"].tolist(), file["patients"].tolist(), strict=True)
                found.update(photo for photo, patient in pairs if case in (photo, patient))
        found.update({case} & _names(folder))
    return found


def manifest_name(image: str) -> str:
    """A photo as releases and trainers name it, whichever way the manifest writes the path."""
    return str(PurePosixPath(image.strip()))


def _folders(site: SiteConfig) -> list[Path]:
    return sorted(path.parent for path in site.releases.glob("[0-9a-f]*/release.json"))


def _epochs(site: SiteConfig) -> dict[str, list[Path]]:
    """Folders of the site's releases by epoch."""
    found: dict[str, list[Path]] = {}
    for folder in _folders(site):
        found.setdefault(json.loads((folder / "release.json").read_text())["epoch"], []).append(folder)
    return found


def _handles(folder: Path) -> dict[str, str]:
    path = folder / HANDLES
    names: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return names


def _names(folder: Path) -> set[str]:
    """Photos that took part in a release's round."""
    return set(_handles(folder))


def _unsaid(site: SiteConfig, folder: Path) -> set[str]:
    """Withdrawn photos of a release that the hub has not acknowledged."""
    said = json.loads((folder / _SAID).read_text()) if (folder / _SAID).exists() else []
    return set(withdrawn_photos(site) & _names(folder)) - set(said)


def _tell_all(
    site: SiteConfig, epochs: Mapping[str, Sequence[Path]], deadline: float
) -> tuple[int, list[str]]:
    """Tell the hub for every epoch that has folders, whatever becomes of the others.

    Returns:
        Rows that went, and the names of the releases that a rotation is due for.

    Raises:
        WithdrawalError: of the first epoch that could not be told.
    """
    rows, due, failed = 0, list[str](), list[WithdrawalError]()
    for epoch, folders in epochs.items():
        if not folders:
            continue
        try:
            gone, rotation = _tell(site, epoch, folders, deadline)
        except WithdrawalError as error:
            failed.append(error)
            continue
        rows += gone
        due += [folder.name for folder in folders if rotation]
    if failed:
        raise failed[0]
    return rows, due


def _tell(site: SiteConfig, epoch: str, folders: Sequence[Path], deadline: float) -> tuple[int, bool]:
    """Post the tombstones of one epoch and note beside its releases what has become of it.

    Returns:
        Rows that went, and whether a rotation is due. A silo that has departed, and one whose epoch was rotated, has
        no rows there any more, and nothing is due.
    """
    gone = withdrawn_photos(site)
    handles = {
        bytes.fromhex(h) for folder in folders for photo, h in _handles(folder).items() if photo in gone
    }
    identity = Identity.load(site.identity_file)
    credential = KeyCredential(identity, Role.SILO, site.name, site.hub_key)
    try:
        with EpochClient(site.exchange_url, site.ca_file, credential, deadline=deadline) as client:
            rows = client.withdraw(epoch, site.name, handles, identity)
            status = client.status(epoch)
    except EpochEndedError as error:
        for folder in folders:
            write_atomic(
                folder / _EPOCH, json.dumps({"rotationDue": [], "endedBy": error.successor}).encode()
            )
            write_atomic(folder / _SAID, json.dumps(sorted(gone & _names(folder))).encode())
        return 0, False
    except RefusedError as error:
        if error.code is Code.NOT_IN_EPOCH or (error.code is Code.EPOCH_UNKNOWN and _old(folders)):
            return 0, False  # this silo has departed, or the epoch has ended: its rows are gone
        raise WithdrawalError(_AGAIN.format(error)) from error
    except ExchangeError as error:
        raise WithdrawalError(_AGAIN.format(error)) from error
    due = [{"cause": str(d.cause), "silo": d.silo, "since": d.since} for d in status.rotation_due]
    for folder in folders:
        write_atomic(folder / _EPOCH, json.dumps({"rotationDue": due}).encode())
        write_atomic(folder / _SAID, json.dumps(sorted(gone & _names(folder))).encode())
    return rows, True


def _old(folders: Sequence[Path]) -> bool:
    """Whether the hub has had a day to open the releases' epoch: until then it may be about to."""
    return all(
        time.time() - (folder / "release.json").stat().st_mtime > _OPENING_SECONDS for folder in folders
    )
