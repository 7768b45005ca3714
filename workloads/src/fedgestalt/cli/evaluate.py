"""``fedgestalt evaluate``: the accuracy table of the README, over seeds and splits."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="evaluate")
@click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, default=(1, 2, 3), show_default=True)
@click.option(
    "--split", "splits", multiple=True, default=("near-uniform", "non-overlapping"), show_default=True
)
@click.option("--tier", type=click.Choice(["tiny", "demo", "full"]), default="demo", show_default=True)
@click.option("--silos", type=click.IntRange(3, 64), default=4, show_default=True)
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=80,
    show_default=True,
    help="Communication rounds; a demonstration has 36, which its ten minutes allow and which leave all arms half trained.",
)
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A YAML file of cells (split, silos, strategy) and seeds, instead of the options above.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("evaluation-demo"),
    show_default=True,
    help="Folder of the cells; what is finished there is not run again.",
)
def command(
    seeds: tuple[int, ...],
    splits: tuple[str, ...],
    tier: str,
    silos: int,
    rounds: int,
    plan_file: Path | None,
    out: Path,
) -> None:
    """Federated, centralised, local-only and untrained start on the same lists, pooled over seeds, for each cell.

    Every federated figure comes from a whole round with real masks. Writes OUT/evaluation.json. Exit codes: 0 all
    targets are met; 1 something failed; 3 a target is missed (the table says which).
    """
    from rich.console import Console

    from fedgestalt.cli.demo import StageProgress
    from fedgestalt.data import CohortError
    from fedgestalt.evaluation import accuracy_table
    from fedgestalt.local.cells import Cell, EvaluationPlan, PlanError, load_plan
    from fedgestalt.local.demo import DemoSettings
    from fedgestalt.local.federation import FederationError
    from fedgestalt.local.study import run_study, targets

    console = Console()
    wide = Console(width=max(console.width, 112))
    shown: dict[str, StageProgress] = {}

    def report(settings: DemoSettings, stage: str, fraction: float | None, detail: str) -> None:
        cell = f"{settings.split}, {settings.silos} silos, {settings.strategy or 'default strategy'}, seed {settings.seed}"
        if cell not in shown:
            for earlier in shown.values():
                earlier.__exit__()
            console.print(f"[bold]{cell}[/bold]")
            shown[cell] = StageProgress(console).__enter__()
        shown[cell](stage, fraction, detail)

    try:
        if plan_file is None:
            plan = EvaluationPlan(tuple(Cell(split, silos, tier, rounds=rounds) for split in splits), seeds)
        else:
            plan = load_plan(plan_file)
        pooled = run_study(out, cells=plan.cells, seeds=plan.seeds, report=report)
    except PlanError as error:
        raise click.ClickException(str(error)) from error
    except (FederationError, CohortError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        for progress in shown.values():
            progress.__exit__()
    missed = 0
    for result in pooled:
        seeds_text = ", ".join(str(seed) for seed in result.seeds)
        wide.print(
            accuracy_table(
                result.arms, title=f"Synthetic faces, {result.cell.name}, mean over seeds {seeds_text}"
            )
        )
        if result.shuffled is not None:
            chance = [f"top-{k} {100 * result.shuffled.value('average', k):.1f}" for k in (1, 5, 10, 30)]
            wide.print(
                f"control, labels shuffled over patients (average of settings, %): {', '.join(chance)}"
            )
        for target in targets(result):
            word = "met   " if target.met else "MISSED"
            wide.print(f"{word} {target.what}: {100 * target.measured:.1f} % (wanted {target.wanted})")
            missed += not target.met
    wide.print(f"Figures: {out / 'evaluation.json'}")
    if missed:
        raise SystemExit(3)
