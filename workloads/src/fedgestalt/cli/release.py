"""``fedgestalt release``: what releases there are, what they were made of, and whether that is true."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from fedgestalt.lineage import StoredRelease

_HERE: Final = Path("releases")


@click.group("release")
def command() -> None:
    """List, show and verify releases.

    A release is named by its digest, the beginning of it (at least 4 digits), or its round's name. DIR is a folder of
    releases, a federation's work directory, or a silo's. Research use only: no output is a diagnosis.
    """


_DIR = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the releases; ./releases if not given.",
)


@command.command("list")
@_DIR
def list_command(directory: Path | None) -> None:
    """List the releases, each below the one that it continues.

    Exit codes: 0 done; 1 some folders hold no readable release, and each was named; 2 wrong usage.
    """
    from fedgestalt.lineage.store import ReleaseStore, tree

    store = ReleaseStore(_folder(directory))
    releases, damaged = store.list()
    if not releases and not damaged:
        click.echo(f"{store.folder} holds no release")
    for depth, release in tree(list(releases)):
        manifest = release.manifest
        when = datetime.fromtimestamp(release.created, UTC).strftime("%Y-%m-%d %H:%MZ")
        click.echo(
            f"{'  ' * depth}{manifest.digest[:12]}  {when}  {manifest.operation:<6}  {manifest.name}  "
            f"{len(manifest.roster)} silos, epoch {manifest.epoch[:8]}"
        )
    for problem in damaged:
        click.echo(_printable(problem), err=True)
    if damaged:
        raise SystemExit(1)


@command.command("show")
@click.argument("reference", metavar="ID")
@_DIR
def show_command(reference: str, directory: Path | None) -> None:
    """Say what a release is: parents, roster, epoch, evaluation, and what a withdrawal cannot undo.

    Nothing is verified: see `fedgestalt release verify`. Exit codes: 0 done; 1 a file of it is damaged; 2 no such release.
    """
    from rich.console import Console

    from fedgestalt.cli._release_show import show
    from fedgestalt.lineage import LineageError

    release = _resolve(reference, directory)
    try:
        show(Console(), release)
    except (LineageError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@command.command("verify")
@click.argument("reference", metavar="ID")
@_DIR
@click.option(
    "--hub-key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The hub's public key (PEM, or 64 hexadecimal digits). At a silo: the one that it pins, if not given.",
)
@click.option(
    "--identities",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The silos' identity keys as you know them: JSON, {silo: 64 hexadecimal digits}.",
)
@click.option("--bundle", is_flag=True, help="Check the weights beside the release too.")
@click.option("--strict", is_flag=True, help="Fail where a key had to be taken from the release itself.")
def verify_command(
    reference: str,
    directory: Path | None,
    hub_key: Path | None,
    identities: Path | None,
    bundle: bool,
    strict: bool,
) -> None:
    """Check a release offline: its digests, signatures, quorums, models and survivor sets.

    Exit codes: 0 verified; 1 not, and everything that is wrong was named; 2 wrong usage.
    """
    from fedgestalt.cli._release_keys import KeyInputError, pinned_hub_key, read_hub_key, read_identities
    from fedgestalt.lineage import StoreError, VerificationError, verify
    from fedgestalt.lineage.bundle import check_bundle
    from fedgestalt.lineage.store import COMPUTATION, MANIFEST, PROOF

    release = _resolve(reference, directory)
    try:
        key = pinned_hub_key(release.folder) if hub_key is None else read_hub_key(hub_key)
        known: Mapping[str, bytes] | None = None if identities is None else read_identities(identities)
    except KeyInputError as error:
        raise click.UsageError(str(error)) from error
    problems: list[str] = []
    unpinned: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()
    try:
        result = verify(
            release.read(MANIFEST),
            release.read(COMPUTATION),
            release.read(PROOF),
            hub_key=key,
            identities=known,
            parent=_parent(release),
        )
        signers, unpinned = result.signers, result.unpinned
    except VerificationError as error:
        problems = [str(problem) for problem in error.problems]
    except StoreError as error:
        problems = [str(error)]
    if bundle:
        problems += [str(problem) for problem in check_bundle(release.folder, release.manifest)]
    name = f"{release.manifest.name} {release.digest[:12]}"
    for problem in problems:
        click.echo(f"{name}: {_printable(problem)}", err=True)
    for remark in unpinned:
        click.echo(f"{name}: not pinned: {remark}", err=True)
    if problems:
        click.echo(f"{name}: NOT verified, {len(problems)} problem(s)", err=True)
        raise SystemExit(1)
    if unpinned and strict:
        click.echo(f"{name}: consistent, but not verified: not everything is pinned (--strict)", err=True)
        raise SystemExit(1)
    for parent in release.manifest.parents:
        click.echo(f"{name}: continues {parent[:12]}, which has a proof of its own: verify it, too", err=True)
    how = "verified, as far as keys were pinned" if unpinned else "verified"
    click.echo(f"{name}: {how}; signed by {', '.join(signers)}")


def _printable(text: str) -> str:
    """Text that may quote untrusted bytes, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _folder(directory: Path | None) -> Path:
    """The folder of releases that DIR means."""
    if directory is None:
        if not _HERE.is_dir():
            raise click.UsageError("there is no folder ./releases: give --dir")
        return _HERE
    for below in (directory / "hub" / "releases", directory / "releases"):
        if below.is_dir():
            return below
    return directory


def _resolve(reference: str, directory: Path | None) -> StoredRelease:
    from fedgestalt.lineage import StoreError
    from fedgestalt.lineage.store import ReleaseStore

    try:
        return ReleaseStore(_folder(directory)).resolve(reference)
    except StoreError as error:
        raise click.UsageError(str(error)) from error


def _parent(release: StoredRelease) -> bytes | None:
    """The parent's manifest, if it lies in the same store, or as `parent.json` beside a newcomer's first release."""
    from fedgestalt.lineage import ReleaseStore, StoreError
    from fedgestalt.lineage.store import MANIFEST, PARENT

    for digest in release.manifest.parents:
        try:
            return ReleaseStore(release.folder.parent).get(digest).read(MANIFEST)
        except StoreError:
            continue
    kept = release.folder / PARENT
    return kept.read_bytes() if kept.is_file() else None


@command.command("round")
@click.argument("reference", metavar="ID")
@_DIR
@click.option(
    "--operation",
    type=click.Choice(["Adopt", "Rotate", "Train"]),
    required=True,
    help="Adopt lets newcomers in, Rotate draws new keys for the same extractor, Train goes on from its weights.",
)
@click.option("--name", required=True, help="metadata.name of the new round.")
@click.option("--add", multiple=True, metavar="SILO", help="A newcomer, for Adopt.")
@click.option("--without", multiple=True, metavar="SILO", help="A silo that departs, for Rotate and Train.")
def round_command(
    reference: str,
    directory: Path | None,
    operation: str,
    name: str,
    add: tuple[str, ...],
    without: tuple[str, ...],
) -> None:
    """Print the FederationRound that continues a release: for `fedgestalt run` or `kubectl apply`.

    Exit codes: 0 done; 1 a file of it is damaged, or the document would be invalid; 2 wrong usage.
    """
    import json

    import yaml

    from fedgestalt.lineage import StoreError
    from fedgestalt.lineage.store import COMPUTATION
    from fedgestalt_operator.kube.validate import InvalidDocumentError, validate

    release = _resolve(reference, directory)
    try:
        spec = json.loads(release.read(COMPUTATION))["spec"]
    except (StoreError, ValueError, KeyError) as error:
        raise click.ClickException(str(error)) from error
    kept = ("purpose", "dataset", "software", "quorum", "evaluation")
    new: dict[str, object] = {
        "operation": operation,
        "silos": sorted({*release.manifest.roster, *add} - set(without)),
    }
    new |= {field: spec[field] for field in kept if field in spec}
    if operation == "Train":
        new |= {field: spec[field] for field in ("vocabulary", "training", "kernel") if field in spec}
    new["base"] = {"release": release.manifest.name, "digest": f"sha256:{release.digest}"}
    document = {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "FederationRound",
        "metadata": {"name": name},
        "spec": new,
    }
    try:
        validate(document, source="the new round")
    except InvalidDocumentError as error:
        raise click.ClickException(str(error)) from error
    click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


@command.command("path")
@click.argument("reference", metavar="ID")
@_DIR
def path_command(reference: str, directory: Path | None) -> None:
    """Print the folder of a release, for scripts.

    Exit codes: 0 done; 2 no such release.
    """
    click.echo(_resolve(reference, directory).folder)
