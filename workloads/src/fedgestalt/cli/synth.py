"""``fedgestalt synth``: synthetic hospitals on disk."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fedgestalt.data.tiers import TIERS


@click.command(name="synth")
@click.option(
    "--tier", type=click.Choice(TIERS), default="demo", show_default=True, help="Size of the cohort."
)
@click.option("--silos", type=click.IntRange(3, 64), default=4, show_default=True, help="Hospitals.")
@click.option(
    "--newcomers",
    type=click.IntRange(0, 16),
    default=0,
    show_default=True,
    help="Further hospitals with photos that the round in round.yaml leaves out: to adopt its release later.",
)
@click.option(
    "--split",
    default="near-uniform",
    show_default=True,
    help="How patients are dealt: near-uniform, non-overlapping (whole syndromes) or dirichlet:A.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Fixes every byte.")
@click.option(
    "--shift",
    type=click.FloatRange(0, 2),
    default=0.5,
    show_default=True,
    help="How much hospitals differ in ancestry, age and camera; 0 for not at all.",
)
@click.option(
    "--undiagnosed",
    type=click.FloatRange(0, 0.9),
    default=0.0,
    show_default=True,
    help="Of the rare syndromes, so many have no name yet; their patients, and one of each other rare syndrome, are undiagnosed.",
)
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Rendering processes.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to fill."
)
def command(
    tier: str,
    silos: int,
    newcomers: int,
    split: str,
    seed: int,
    shift: float,
    undiagnosed: float,
    workers: int,
    out: Path,
) -> None:
    """Render a synthetic cohort, split over hospitals: OUT/<silo>/manifest.csv, cohort.json, photos/.

    Writes OUT/round.yaml too, the round that `fedgestalt run` takes; with --undiagnosed, what those patients truly have into
    OUT/undiagnosed.json, which is no hospital's. The faces are invented and say nothing about clinical
    accuracy. An interrupted call goes on where it stopped. Exit codes: 0 done; 1 it failed and said why; 2 wrong usage.
    """
    from rich.progress import Progress

    from fedgestalt.data import CohortError
    from fedgestalt.data.federation import make_federation

    started = time.perf_counter()
    try:
        with Progress() as bar:
            task = bar.add_task("rendering faces", total=None)
            cohorts = make_federation(
                out,
                tier=tier,
                silos=silos + newcomers,
                split=split,
                seed=seed,
                shift=shift,
                undiagnosed=undiagnosed,
                workers=workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
    except (CohortError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    _write_round(out, tier, split, seed, [cohort.name for cohort in cohorts][:silos])
    photos = sum(len(cohort.photos) for cohort in cohorts)
    seconds = time.perf_counter() - started
    click.echo(
        f"{photos} synthetic photos of {len(cohorts)} hospitals in {out} ({photos / seconds:.0f} photos/s)"
    )
    click.echo(f"Next: fedgestalt run {out / 'round.yaml'} --workdir federation --cohorts {out}")


def _write_round(out: Path, tier: str, split: str, seed: int, silos: list[str]) -> None:
    """A FederationRound for these hospitals, to be edited and run."""
    import hashlib

    import yaml

    from fedgestalt.data.federation import VOCABULARY
    from fedgestalt.files import write_atomic
    from fedgestalt.local.demo import weights_digest
    from fedgestalt.local.document import demo_round

    document = demo_round(
        name=f"{tier}-{seed}",
        silos=silos,
        vocabulary_digest="sha256:" + hashlib.sha256((out / VOCABULARY).read_bytes()).hexdigest(),
        weights_digest=weights_digest,
        non_overlapping=split != "near-uniform",
        tiny=tier == "tiny",
    )
    write_atomic(out / "round.yaml", yaml.safe_dump(document, sort_keys=False).encode(), mode=0o644)
