"""``fedgestalt silo``: the agent of one hospital."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import click


@click.group(name="silo")
def command() -> None:
    """The agent that holds a silo's keys and takes part in rounds."""


@command.command()
@click.option(
    "--site",
    "site_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The site's site.json: name, exchange, hub key, identity, grant, datasets.",
)
def agent(site_file: Path) -> None:
    """Serve tasks of the hub until SIGTERM. May be killed at any time; it goes on where the board stands.

    Exit codes: 0 ended by a signal; 1 it cannot go on and said why; 2 wrong usage.
    """
    from fedgestalt.crypto.errors import CryptoError
    from fedgestalt.silo.agent import Agent
    from fedgestalt.silo.config import SiteConfigError, load_site_config
    from fedgestalt.silo.lock import SiteBusyError, site_lock

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        site = load_site_config(site_file)
        with site_lock(site.state):
            running = Agent(site)
            signal.signal(signal.SIGTERM, running.on_signal)
            signal.signal(signal.SIGINT, running.on_signal)
            running.run()
    except (SiteConfigError, SiteBusyError, CryptoError) as error:
        raise click.ClickException(str(error)) from error
