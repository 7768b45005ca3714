"""``fedgestalt cohort``: check cohorts of photos, and deal them to silos."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(name="cohort")
def command() -> None:
    """Check, import and partition cohorts of photos."""


@command.command()
@click.argument("folder", type=_FOLDER)
def check(folder: Path) -> None:
    """Check the cohort in FOLDER: every row of its manifest and every photo.

    Exit codes: 0 usable; 1 not, and every problem was named with its row, column and fix.
    """
    from fedgestalt.data import CohortError, load_cohort

    try:
        cohort = load_cohort(folder)
    except CohortError as error:
        raise click.ClickException(str(error)) from error
    roles = Counter(photo.role.value for photo in cohort.photos)
    listed = ", ".join(f"{count} {role}" for role, count in sorted(roles.items()))
    click.echo(
        f"{cohort.name}: {len(cohort.photos)} photos of {len(cohort.patients)} patients ({listed}), "
        f"{len(cohort.trained)} frequent and {len(cohort.rare)} rare syndromes"
        + (", synthetic" if cohort.synthetic else "")
    )


@command.command()
@click.argument("folder", type=_FOLDER)
@click.argument("out", type=_FOLDER)
@click.option("--silos", type=click.IntRange(3, 64), default=4, show_default=True)
@click.option(
    "--split", default="near-uniform", show_default=True, help="near-uniform, non-overlapping or dirichlet:A."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def partition(folder: Path, out: Path, silos: int, split: str, seed: int) -> None:
    """Deal the patients of the cohort in FOLDER to silos below OUT. A patient never crosses silos.

    Exit codes: 0 done; 1 it failed and said why; 2 wrong usage.
    """
    from fedgestalt.data import CohortError
    from fedgestalt.data.federation import partition_cohort

    try:
        parts = partition_cohort(folder, out, silos=silos, split=split, seed=seed)
    except (CohortError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for part in parts:
        click.echo(f"{part.name}: {len(part.photos)} photos of {len(part.patients)} patients")


@command.command("import-gmdb")
@click.argument("source", type=_FOLDER)
@click.argument("out", type=_FOLDER)
def import_gmdb_command(source: Path, out: Path) -> None:
    """Import the GestaltMatcher Database's published layout from SOURCE into the cohort OUT.

    What is left out is listed with the reason. The data need a licence of their own. Exit codes: 0 done; 1 it failed and
    said why; 2 wrong usage.
    """
    from fedgestalt.data import CohortError
    from fedgestalt.data.gmdb import import_gmdb

    try:
        done = import_gmdb(source, out)
    except CohortError as error:
        raise click.ClickException(str(error)) from error
    for line in done.skipped:
        click.echo(f"left out: {line}", err=True)
    click.echo(
        f"{len(done.cohort.photos)} photos of {len(done.cohort.patients)} patients in {out}; {len(done.skipped)} left out"
    )
