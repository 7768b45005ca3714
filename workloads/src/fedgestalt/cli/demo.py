"""``fedgestalt demo``: a federation of hospitals on synthetic faces, with its accuracy and a report."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import click


@click.command(name="demo")
@click.option("--silos", type=click.IntRange(3, 64), default=4, show_default=True, help="Hospitals.")
@click.option(
    "--tier",
    type=click.Choice(["tiny", "demo", "full"]),
    default="demo",
    show_default=True,
    help="Size of the synthetic cohort: tiny takes a minute, demo about ten, full hours.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A cohort of your own (a folder with manifest.csv) instead of synthetic faces.",
)
@click.option(
    "--split",
    default="near-uniform",
    show_default=True,
    help="How patients are dealt to hospitals: near-uniform, non-overlapping or dirichlet:A.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Fixes photos, split and training."
)
@click.option(
    "--workers",
    type=click.IntRange(0, 8),
    default=0,
    show_default=True,
    help="Ray workers per hospital; 0 trains in one process each, which is far lighter.",
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Afterwards one more hospital joins without training, and asks about its patients.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("fedgestalt-demo"),
    show_default=True,
    help="Folder for everything that the demonstration makes.",
)
@click.option(
    "--resume", is_flag=True, help="Go on with an interrupted demonstration in --out, or show a finished one."
)
@click.option("--overwrite", is_flag=True, help="Remove a demonstration that lies in --out and begin anew.")
def command(
    silos: int,
    tier: str,
    data: Path | None,
    split: str,
    seed: int,
    workers: int,
    adopt: bool,
    out: Path,
    resume: bool,
    overwrite: bool,
) -> None:
    """Make hospitals, train their federation, compare it with what it replaces, write a report.

    Writes OUT/report.html and OUT/report.json. The faces are invented; nothing is a diagnosis. Exit codes: 0 done; 1 it
    failed and said why; 130 interrupted (go on with --resume).
    """
    from rich.console import Console

    from fedgestalt.data import CohortError
    from fedgestalt.evaluation import accuracy_table
    from fedgestalt.faces import PhotoError
    from fedgestalt.local.demo import Demo, DemoSettings
    from fedgestalt.local.federation import FederationError
    from fedgestalt.local.summary import write_demo_report
    from fedgestalt.models.weights import InitialWeightsMissing

    console = Console()
    if resume and not (out / "settings.json").exists():
        raise click.ClickException(
            f"{out} holds no demonstration to go on with. Leave --resume out to begin one."
        )
    if out.exists() and not resume and any(out.iterdir()):
        if not (out / "settings.json").exists():
            raise click.ClickException(f"{out} exists and is no demonstration. Give another --out.")
        if not overwrite:
            kind = "a finished" if (out / "report.json").exists() else "an unfinished"
            raise click.ClickException(
                f"{out} holds {kind} demonstration. Go on with --resume, begin anew with --overwrite, or give another --out."
            )
        shutil.rmtree(out)
    source = "" if data is None else str(data.resolve())
    settings = DemoSettings(tier, silos, split, seed, workers, source, adopt)
    chosen = f"fedgestalt demo --tier {tier} --silos {silos} --split {split} --seed {seed}"
    try:
        with StageProgress(console) as progress:
            demo = Demo(out, settings, progress)
            result = demo.run()
            adoption = demo.adopt(result) if adopt else None
        html, figures = write_demo_report(demo, result, chosen)
    except KeyboardInterrupt:
        click.echo(
            f"Interrupted. Go on with: fedgestalt demo --resume --out {out} and the same settings", err=True
        )
        raise SystemExit(130) from None
    except (FederationError, CohortError, PhotoError, InitialWeightsMissing, ValueError) as error:
        raise click.ClickException(str(error)) from error
    # A narrow or piped output would squeeze the intervals out of the table: let long lines be long.
    wide = Console(width=max(console.width, 112))
    wide.print(accuracy_table(result.arms, title="Synthetic faces: no statement about clinical accuracy"))
    minutes = sum(result.stage_seconds.values()) / 60
    wide.print(
        f"{minutes:.1f} minutes, at most {result.peak_rss_mib / 1024:.1f} GiB of memory in all processes (an upper bound)"
    )
    wide.print(f"Report: {html}\nFigures: {figures}")
    if adoption is not None:
        found = "/".join(f"{100 * adoption.table.value('average', k):.1f}" for k in (1, 5, 10, 30))
        wide.print(
            f"{adoption.newcomer} joined without training in {adoption.seconds:.0f} s ({adoption.blocks} new Gram blocks). "
            f"Its own test photos against all {silos + 1} galleries: top-1/5/10/30 {found} %. "
            f"Release {adoption.release[:12]}"
        )
    wide.print(
        f"Next: fedgestalt demo --tier {tier} --split non-overlapping --out fedgestalt-demo-2   (hospitals share no syndrome)"
    )


class StageProgress:
    """One bar per stage of the demonstration; on something that is no terminal, a line per tenth."""

    NAMES: ClassVar[dict[str, str]] = {
        "photos": "rendering faces",
        "federated": "federation round",
        "start": "untrained start",
        "centralised": "centralised training",
        "local_only": "each hospital alone",
        "shuffled": "shuffled labels",
        "adopt": "a newcomer joins",
    }

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console
        self._bar = Progress(
            TextColumn("{task.fields[stage]:<22}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._shown: dict[str, int] = {}

    def __enter__(self) -> StageProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._tasks.values():
            self._bar.update(task, completed=1.0)
        self._bar.stop()

    def __call__(self, stage: str, fraction: float | None, detail: str) -> None:
        """Show that ``stage`` stands at ``fraction``."""
        name = self.NAMES.get(stage, stage)
        if stage not in self._tasks:
            for task in self._tasks.values():
                self._bar.update(task, completed=1.0, description="")
            self._tasks[stage] = self._bar.add_task("", total=1.0, stage=name)
        self._bar.update(self._tasks[stage], completed=fraction, description=detail[:60])
        tenth = int((fraction or 0.0) * 10)
        if not self._console.is_terminal and self._shown.get(stage) != tenth:
            self._shown[stage] = tenth
            self._console.print(f"{name}: {tenth * 10} %")
