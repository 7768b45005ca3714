"""The weights beside a release against the digests in its manifest. Only bytes are compared, nothing is built.

The bundle's own manifest is described in ``fedgestalt.models.bundle``, which needs a deep-learning framework; this does not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedgestalt.lineage.findings import Finding, Problem
from fedgestalt.lineage.manifest import Manifest
from fedgestalt.lineage.store import MANIFEST, SEALED

PLAIN: Final = "bundle"
_MAX_MANIFEST_BYTES: Final = 1 << 20
_PREFIX: Final = "sha256:"


def check_bundle(folder: Path, manifest: Manifest) -> list[Problem]:
    """Compare ``bundle.sealed`` and ``bundle/`` in a release's folder, whichever is there, with the manifest.

    Returns:
        What is wrong; empty if all that is there is right. That neither is there is a problem, too.
    """
    if manifest.bundle is None:
        return [_problem("the release's manifest names no bundle, so there is nothing to compare with")]
    sealed, plain = folder / SEALED, folder / PLAIN
    if not sealed.is_file() and not plain.is_dir():
        return [_problem(f"{folder} has neither {SEALED} nor {PLAIN}/: fetch the bundle")]
    problems = []
    if sealed.is_file() and _sha256(sealed) != manifest.bundle.sealed:
        problems.append(_problem(f"{sealed} is not the blob that the manifest names: fetch it again"))
    if plain.is_dir():
        problems += _check_plain(plain, manifest, manifest.bundle.plain)
    return problems


def _check_plain(folder: Path, manifest: Manifest, digest: str) -> Iterator[Problem]:
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > _MAX_MANIFEST_BYTES:
        yield _problem(
            f"{path} is missing or larger than {_MAX_MANIFEST_BYTES} bytes: fetch the bundle again"
        )
        return
    raw = path.read_bytes()
    if _PREFIX + hashlib.sha256(raw).hexdigest() != digest:
        yield _problem(f"{path} is not the bundle that the release names: fetch the bundle again")
        return
    try:
        members = [(str(m["name"]), str(m["file"]), m["digest"]) for m in json.loads(raw)["members"]]
    except (ValueError, KeyError, TypeError):
        yield _problem(f"{path} is no manifest of a bundle")
        return
    expected = {MANIFEST, *(file for _, file, _ in members)}
    present = {item.name for item in folder.iterdir()}
    for name in sorted(expected ^ present):
        yield _problem(f"{folder}: {name} is {'missing' if name in expected else 'not listed'}")
    for _, file, stated in members:
        # A name with a separator is in no listing of the folder, so nothing outside it is ever opened.
        if file in present and _PREFIX + _sha256(folder / file) != stated:
            yield _problem(f"{folder / file} differs from its digest: fetch the bundle again")
    yield from _check_names({name for name, _, _ in members}, manifest)


def _check_names(held: set[str], manifest: Manifest) -> Iterator[Problem]:
    # Hashes of models cannot be compared: a round's cover the classifier's rows too, which are in no bundle. That the
    # bundle holds the round's models is what the silos say by naming its digest in their `rows`.
    named = {member.name for member in manifest.members}
    if held != named:
        yield _problem(f"the bundle's members are {sorted(held)}, the release's {sorted(named)}")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _problem(detail: str) -> Problem:
    return Problem(Finding.BUNDLE_MISMATCH, detail)
