"""`kubectl fedgestalt`: kubectl runs the executable `kubectl-fedgestalt` that it finds on the path."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from .access import open_access
from .ends import Exit
from .follow import read_round
from .options import cluster_options, open_for, seconds_of
from .wait import wait_for
from .watch import watch_round
from .why import explain

EPILOG: Final = (
    "Exit codes: 0 the round succeeded (why, replay: done); 1 it failed (replay --step: a decision differs); 2 wrong "
    "usage; 3 timed out; 4 no such round; 5 the cluster cannot be reached; 130 interrupted."
)


@click.group(name="kubectl fedgestalt", epilog=EPILOG)
def cli() -> None:
    """Look at federation rounds: watch one, ask why it waits, wait for its end, replay its decisions."""


@cli.command()
@click.argument("round_name", metavar="ROUND")
@cluster_options
@click.pass_context
def watch(
    ctx: click.Context, round_name: str, kubeconfig: Path | None, context: str | None, namespace: str | None
) -> None:
    """Show a round as it goes on, until it is over."""
    access = open_for(ctx, kubeconfig, context, namespace)
    ctx.exit(watch_round(access, round_name, Console()))


@cli.command()
@click.argument("round_name", metavar="ROUND")
@cluster_options
@click.pass_context
def why(
    ctx: click.Context, round_name: str, kubeconfig: Path | None, context: str | None, namespace: str | None
) -> None:
    """Say what a round waits for, until when, and whose move it is; or why it ended as it did."""
    access = open_for(ctx, kubeconfig, context, namespace)
    document = read_round(access.cluster, access.namespace, round_name)
    click.echo("\n".join(explain(document, access.now())))


@cli.command()
@click.argument("round_name", metavar="ROUND")
@click.option(
    "--timeout", default="2h", callback=seconds_of, show_default=True, help="Give up after 90s, 5m, 2h."
)
@cluster_options
@click.pass_context
def wait(
    ctx: click.Context,
    round_name: str,
    timeout: float,
    kubeconfig: Path | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Wait until a round is over; the exit code says how it ended."""
    access = open_for(ctx, kubeconfig, context, namespace)
    code, line = wait_for(access, round_name, timeout)
    click.echo(line)
    ctx.exit(code)


def main() -> None:
    """The entry point of `kubectl-fedgestalt`."""
    try:
        code = cli.main(obj=open_access, standalone_mode=False, prog_name="kubectl fedgestalt")
    except click.exceptions.Abort:
        code = Exit.INTERRUPTED
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    sys.exit(int(code or 0))


if __name__ == "__main__":
    main()
