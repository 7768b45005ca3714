"""``fedgestalt keys``: make an identity, and print its public half as resources and files take it."""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from fedgestalt.crypto.errors import KeyFileError
from fedgestalt.crypto.keys import Identity, fingerprint

FILE: Final = "identity.pem"
LASTS: Final = timedelta(days=365)
EPILOG: Final = "Exit codes: 0 done; 1 it failed and said why (nothing was overwritten); 2 wrong usage."


@click.group()
def command() -> None:
    """Make the key of a hospital or a hub, and print its public half. The private half is never printed."""


@command.command(epilog=EPILOG)
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def new(directory: Path) -> None:
    """Make an Ed25519 identity, DIR/identity.pem (mode 0600). DIR is made if absent; no key is overwritten."""
    path = directory / FILE
    identity = Identity.generate()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _save_new(identity, path)
    except FileExistsError as error:
        raise click.ClickException(
            f"{path}: exists already and is kept: whoever knows its public half would know you no more. "
            f"`fedgestalt keys show {path}` prints it; take another DIR for another key."
        ) from error
    except OSError as error:
        raise click.ClickException(
            f"{path}: {error.strerror or error}. Choose a DIR that you may write to."
        ) from error
    click.echo(f"Made {path}. Keep it, keep it secret, and keep a copy where only you can read it.\n")
    click.echo(_text(identity.public))


@command.command(epilog=EPILOG)
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@click.option(
    "--print",
    "what",
    type=click.Choice(["all", "public-key", "fingerprint", "json"]),
    default="all",
    show_default=True,
    help="Everything to read, one value alone for scripts, or both values as JSON.",
)
def show(path: Path, what: str) -> None:
    """Print public key and fingerprint of the identity at PATH (the file, or its folder), ready to paste."""
    try:
        public = Identity.load(path / FILE if path.is_dir() else path).public
    except KeyFileError as error:
        raise click.ClickException(str(error)) from error
    match what:
        case "public-key":
            click.echo(public.hex())
        case "fingerprint":
            click.echo(fingerprint(public).hex())
        case "json":
            click.echo(json.dumps({"publicKey": public.hex(), "fingerprint": fingerprint(public).hex()}))
        case _:
            click.echo(_text(public))


def _save_new(identity: Identity, path: Path) -> None:
    """Write the key whole or not at all, and never over another. Raises OSError, FileExistsError among them."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        identity.save(beside)
        os.link(beside, path)  # unlike a rename it fails where something stands
    finally:
        beside.unlink(missing_ok=True)


def _text(public: bytes) -> str:
    key, print_ = public.hex(), fingerprint(public).hex()
    until = (datetime.now(UTC) + LASTS).strftime("%Y-%m-%dT00:00:00Z")
    return "\n".join(
        (
            f"public key   {key}",
            f"fingerprint  {print_}",
            "",
            "A hospital's key: to the hub's platform team, for spec.identities of the Silo:",
            f"  - {{key: {key}, notAfter: '{until}'}}",
            "and to the other hospitals, on a way that is not the hub's, for spec.peers of their grants:",
            f"  - {print_}",
            "A hub's key: to every hospital, for site.json and for spec of its grants:",
            f'  "hubKey": "{key}"',
            f"  hub: {print_}",
        )
    )
