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
from .replay import replay_round
from .sources import BoardSource, FileSource, HubSource
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


@cli.command()
@click.argument("round_name", metavar="ROUND")
@click.option("--until", metavar="TIME|SEQ", help="The moment: 2026-11-24T14:32:00Z, or a sequence number.")
@click.option("--step", is_flag=True, help="Every decision, and whether the planner decides the same.")
@click.option(
    "--board",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An exported board; the hub's own if not given.",
)
@click.option("--hub-namespace", help="Namespace of the hub's operator; the round's if not given.")
@cluster_options
@click.pass_context
def replay(
    ctx: click.Context,
    round_name: str,
    until: str | None,
    step: bool,
    board: Path | None,
    hub_namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Show what was known at a moment of a round, and why the hub decided as it did."""
    if step and until is not None:
        raise click.UsageError("--step goes through the whole round; leave out --until")
    source: BoardSource
    if board is not None:
        source = FileSource(board)
    else:
        access = open_for(ctx, kubeconfig, context, namespace)
        where = hub_namespace or access.namespace
        source = HubSource(access.cluster, access.namespace, where, access.document)
    ctx.exit(replay_round(source.read(round_name), until, step, click.echo))


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
