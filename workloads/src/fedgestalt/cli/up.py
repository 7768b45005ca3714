"""``fedgestalt up``: the exchange of a federation on this machine, so that its hospitals can ask."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import click


@click.command(name="up")
@click.option(
    "--workdir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="The work directory of `fedgestalt run`, or DEMO/federation.",
)
def command(workdir: Path) -> None:
    """Keep the exchange of WORKDIR up until SIGTERM or Ctrl-C: its query service answers the hospitals.

    Exit codes: 0 ended by a signal; 1 it could not start, or ended by itself; 2 wrong usage.
    """
    from fedgestalt.local.exchange import ExchangeStartError, LocalExchange
    from fedgestalt.local.setup import Layout

    layout = Layout(workdir.resolve())
    if not layout.hub_key.exists():
        raise click.ClickException(
            f"{workdir} holds no federation; make one with `fedgestalt run` or `demo`."
        )
    exchange = LocalExchange(layout)
    exchange.register()
    try:
        child = exchange.start()
    except ExchangeStartError as error:
        raise click.ClickException(str(error)) from error
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopped.append(received))
    click.echo(f"The exchange answers at {exchange.url}. Releases: {layout.hub / 'releases'}", err=True)
    try:
        while not stopped:
            if child.poll() is not None:
                raise click.ClickException(f"the exchange ended:\n{child.tail()}")
            time.sleep(0.2)
    finally:
        child.stop()
