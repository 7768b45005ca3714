"""``fedgestalt exchange``: serve the board, make its certificates."""

from __future__ import annotations

import errno
import logging
import os
import ssl
from pathlib import Path

import click

from fedgestalt.crypto.errors import CryptoError
from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.errors import ExchangeError, RefusedError
from fedgestalt.exchange.registry import Registry, write_registry
from fedgestalt.exchange.storage import EmbeddedStorage
from fedgestalt.exchange.tls import make_tls
from fedgestalt.files import write_atomic

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Serve the board through which silos and hub speak."""


@command.command(epilog="Exit codes: 0 ended by a signal; 1 it could not serve and said why; 2 wrong usage.")
@click.option(
    "--dir",
    "directory",
    type=_DIRECTORY,
    required=True,
    help="Where the board is kept; made if absent.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8443, show_default=True, help="0: a free one.")
@click.option(
    "--hub-key", type=_FILE, required=True, help="The hub's Ed25519 key (PEM, mode 0600): signs receipts."
)
@click.option("--tls-cert", type=_FILE, required=True, help="The server's certificate (PEM).")
@click.option("--tls-key", type=_FILE, required=True, help="The certificate's key (PEM).")
@click.option(
    "--silos",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Registered silos (JSON); read again when it changes. If absent it begins empty, for the operator to fill.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Gets the port once connections are accepted.",
)
def serve(
    directory: Path,
    host: str,
    port: int,
    hub_key: Path,
    tls_cert: Path,
    tls_key: Path,
    silos: Path,
    ready_file: Path | None,
) -> None:
    """Serve the board over TLS until SIGTERM or SIGINT."""
    from fedgestalt.exchange.epochs.store import EpochStore
    from fedgestalt.exchange.server.app import ServerSettings, create_app
    from fedgestalt.exchange.server.serve import serve as run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)

    def ready(bound: int) -> None:
        click.echo(f"The exchange listens on https://{host}:{bound}", err=True)
        if ready_file is not None:
            write_atomic(ready_file, f"{bound}\n".encode())

    try:
        key = Identity.load(hub_key)
        if not silos.exists():
            write_registry(silos, {})
        Registry(silos).silos()
        storage = EmbeddedStorage(directory)
        epochs = EpochStore(directory / "epochs")
    except (CryptoError, ExchangeError) as error:
        raise click.ClickException(str(error)) from error
    try:
        app = create_app(ServerSettings(hub_key=key, silos=silos), storage, epochs)
        run(app, host=host, port=port, certificate=tls_cert, key=tls_key, ready=ready)
    except ssl.SSLError as error:
        raise click.ClickException(
            f"{tls_cert}, {tls_key}: not a certificate and its key in PEM form ({error.reason}). "
            "`fedgestalt exchange init-tls` makes a pair."
        ) from error
    except OSError as error:
        what = f"{host}:{port}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            what += ". Another process listens there; choose another --port, or 0 for a free one."
        raise click.ClickException(what) from error
    finally:
        epochs.close()
        storage.close()
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


@command.command("init-tls", epilog="Exit codes: 0 done; 1 it failed and said why; 2 wrong usage.")
@click.option("--dir", "directory", type=_DIRECTORY, required=True, help="Where the files go.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=("localhost", "127.0.0.1"),
    show_default=True,
    help="Name or address of the exchange; may be repeated.",
)
def init_tls(directory: Path, hosts: tuple[str, ...]) -> None:
    """Make a private authority and a server certificate, or renew the latter when it runs out."""
    try:
        files = make_tls(directory, hosts)
    except (ExchangeError, RefusedError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"for silos:  {os.fspath(files.ca)}")
    click.echo(f"for serve:  --tls-cert {files.certificate} --tls-key {files.key}")
