"""``fedgestalt run``: a FederationRound document, run on this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click


@click.command(name="run")
@click.argument("document", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--workdir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where hub and silos live.",
)
@click.option(
    "--cohorts",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with one cohort per silo, named as the silos. Default: WORKDIR/cohorts.",
)
@click.option(
    "--vocabulary",
    "vocabulary_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The syndromes, JSON with the lists trained and rare. Default: vocabulary.json in the cohorts' folder. Not for a "
    "round with spec.base and without spec.vocabulary, which speaks of its base's.",
)
@click.option(
    "--seed",
    type=int,
    help="Fixes the site secrets, so that a run repeats. For tests and demonstrations only.",
)
def command(
    document: Path, workdir: Path, cohorts: Path | None, vocabulary_file: Path | None, seed: int | None
) -> None:
    """Run the FederationRound in DOCUMENT with hub and silos as processes under WORKDIR.

    The document is the one that a cluster takes. Running again in the same WORKDIR resumes; another document there is the
    federation's next round. Exit codes: 0 the round succeeded; 1 bad input or a process that does not stay up; 3 the
    round ended in Failed.
    """
    from rich.console import Console

    from fedgestalt.local.federation import FederationError, LocalFederation
    from fedgestalt.local.progress import RoundProgress
    from fedgestalt_operator.kube.documents import DocumentError
    from fedgestalt_operator.kube.validate import InvalidDocumentError, validate_file

    console = Console()
    cohorts = cohorts or workdir / "cohorts"
    try:
        documents = validate_file(document)
    except (DocumentError, InvalidDocumentError) as error:
        raise click.ClickException(str(error)) from error
    if len(documents) != 1 or documents[0]["kind"] != "FederationRound":
        raise click.ClickException(f"{document}: one FederationRound is needed, and nothing else.")
    loaded = documents[0]
    silos = loaded["spec"].get("silos", [])
    missing = [name for name in silos if not (cohorts / name).is_dir()]
    if missing:
        raise click.ClickException(
            f"{document}: spec.silos: no cohort folder for {', '.join(missing)} in {cohorts}. "
            "Make them with `fedgestalt synth` or name their folder with --cohorts."
        )
    base = loaded["spec"].get("base")
    inherits = base is not None and "vocabulary" not in loaded["spec"]
    if inherits and vocabulary_file is not None:
        raise click.ClickException(
            f"--vocabulary: {document} continues a release and names no spec.vocabulary, so it speaks of the "
            "syndromes of that release. Leave --vocabulary out, or, in a Train round, name its digest in spec.vocabulary."
        )
    vocabulary_file = vocabulary_file or cohorts / "vocabulary.json"
    if inherits:
        # Adopt and Rotate speak of the syndromes that the release speaks of; the hub keeps them beside it.
        release = workdir / "hub" / "releases" / base["digest"].removeprefix("sha256:")
        vocabulary_file = release / "vocabulary.json"
    try:
        vocabulary = vocabulary_file.read_bytes()
    except OSError as error:
        mend = (
            "Name it with --vocabulary." if base is None else f"Is spec.base.digest a release of {workdir}?"
        )
        raise click.ClickException(f"{vocabulary_file}: {error.strerror}. {mend}") from error
    digest = hashlib.sha256(vocabulary).hexdigest()
    if "vocabulary" in loaded["spec"] and loaded["spec"]["vocabulary"]["digest"] != f"sha256:{digest}":
        raise click.ClickException(
            f"{document}: spec.vocabulary.digest: {vocabulary_file} has sha256:{digest}."
        )
    try:
        federation = LocalFederation(
            loaded,
            workdir=workdir,
            cohorts={name: cohorts / name for name in silos},
            vocabulary=vocabulary,
            seed=seed,
        )
        with RoundProgress(console) as progress:
            outcome = federation.run(progress)
    except FederationError as error:
        raise click.ClickException(str(error)) from error
    if outcome.phase != "Succeeded":
        condition = next(c for c in outcome.status["conditions"] if c["type"] == "Succeeded")
        click.echo(
            f"The round failed: {condition['reason']}: {condition['message']}\n"
            f"Logs: {workdir / 'logs'} (hub and agents), {workdir / 'silos'}/<silo>/work/*/logs (trainers)",
            err=True,
        )
        raise SystemExit(3)
    if outcome.table is not None:
        from fedgestalt.evaluation import accuracy_table

        console.print(accuracy_table({"federated": outcome.table}))
    release = str(outcome.status.get("releaseDigest", ""))
    console.print(f"Round {outcome.uid} succeeded in {outcome.wall_seconds:.0f} s.")
    if release:
        console.print(
            f"Release {release[:12]}: fedgestalt release show {release[:12]} --dir {workdir}\n"
            f"At each hospital: {workdir}/silos/<silo>/releases/{release}"
        )
