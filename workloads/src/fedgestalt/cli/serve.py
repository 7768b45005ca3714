"""``fedgestalt serve``: the clinic's inference service over one release."""

from __future__ import annotations

import errno
import ipaddress
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fedgestalt.serving.analyses import Analyses

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@click.command(
    name="serve",
    epilog="Exit codes: 0 ended by a signal; 1 it could not serve and said why; 2 wrong usage. "
    "Research use only: no output is a diagnosis.",
)
@click.option(
    "--release",
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="The release's folder at this site: SITE/releases/DIGEST.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: a free one.")
@click.option(
    "--site",
    "site_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The site's site.json: asks the federation with its identity. Without it answers are local only.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Gets the port once photos are accepted.",
)
def command(folder: Path, host: str, port: int, site_file: Path | None, ready_file: Path | None) -> None:
    """Answer photos with ranked syndromes: POST /v1/analyses. Photos are never written or logged.

    The release is verified and loaded while /healthz answers; /readyz turns 200 when it is there. There is no login
    yet: whoever reaches the address may ask.
    """
    from fedgestalt.crypto.errors import CryptoError
    from fedgestalt.exchange.errors import ExchangeError
    from fedgestalt.files import write_atomic
    from fedgestalt.silo.config import SiteConfigError, load_site_config

    try:
        import python_multipart  # noqa: F401 - starlette asks for it at the first form only

        from fedgestalt.serving.release import ReleaseError
        from fedgestalt.serving.server import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fedgestalt"):
            raise
        raise click.ClickException(
            f"`fedgestalt serve` needs the Python package {error.name!r}, which is not installed. "
            "Install the project with its extras: pip install 'fedgestalt[train,serve]'."
        ) from error
    try:
        site = None if site_file is None else load_site_config(site_file)
    except SiteConfigError as error:
        raise click.ClickException(str(error)) from error
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if not _is_loopback(host):
        click.echo(
            f"There is no login yet: everybody who reaches {host} may send photos and spend the site's query budget. "
            "Put a proxy with authentication and TLS before it.",
            err=True,
        )

    def load() -> Analyses:
        from fedgestalt.serving.analyses import Analyses
        from fedgestalt.serving.federation import HubFederation
        from fedgestalt.serving.release import load_release

        if site is None:
            return Analyses(load_release(folder), None)
        release = load_release(folder, site.hub_key)
        if release.silo != site.name:
            raise ReleaseError(
                f"{folder}: the release of {release.silo}, {site_file} is {site.name}'s. Give the two of one site."
            )
        try:
            return Analyses(release, HubFederation.of_site(site, release.epoch))
        except (CryptoError, ExchangeError) as error:
            raise ReleaseError(f"{site_file}: {error}") from error

    def ready(bound: int) -> None:
        click.echo(f"Photos are answered at http://{host}:{bound}/v1/analyses", err=True)
        if ready_file is not None:
            write_atomic(ready_file, f"{bound}\n".encode())

    hosts = _LOOPBACK if _is_loopback(host) else ()
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)
    try:
        serve(load, host=host, port=port, hosts=hosts, ready=ready)
    except ReleaseError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        what = f"{host}:{port}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            what += ". Another process listens there; choose another --port, or 0 for a free one."
        raise click.ClickException(what) from error
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
