"""`fedgestalt doctor`: what is missing on this machine and how to mend it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedgestalt.cli._doctor_checks import examine

_STYLES: Final = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@click.command(epilog="Exit codes: 0 nothing stands in the way (warnings allowed); 1 at least one problem.")
@click.option(
    "--workdir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("fedgestalt-demo"),
    show_default=True,
    help="The folder in which a federation is to run; it need not exist.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def command(ctx: click.Context, workdir: Path, as_json: bool) -> None:
    """Say what is missing on this machine and how to mend it."""
    findings = examine(workdir)
    counts = Counter(finding.level for finding in findings)
    if as_json:
        click.echo(
            json.dumps({"ok": not counts["problem"], "findings": [f.to_json() for f in findings]}, indent=2)
        )
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("", "check", "found"):
            table.add_column(heading, overflow="fold")
        for f in findings:
            mend = f"\n[bold]{escape(f.mend)}[/bold]" if f.mend else ""
            table.add_row(f"[{_STYLES[f.level]}]{f.level}[/]", f.check, escape(f.what) + mend)
        console = Console()
        console.print(table)
        console.print(f"{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} fine")
    ctx.exit(1 if counts["problem"] else 0)
