"""``fedgestalt job``: the hub's stateless jobs, started by the operator with FEDGESTALT_* in the environment."""

from __future__ import annotations

import click


@click.group(name="job")
def command() -> None:
    """Jobs of the hub. They read FEDGESTALT_* from the environment (docs/reference/workload-contract.md).

    Exit codes: 0 done, the result is written; 1 it failed and said why; a kill may be followed by a restart at any time.
    """


@command.command()
def aggregate() -> None:
    """Sum the masked updates of one (member, t, try)."""
    from fedgestalt.jobs.aggregate import run

    _run(run)


@command.command()
def kernel() -> None:
    """Compare masked rows and rank syndromes for each test row."""
    from fedgestalt.jobs.kernel import run

    _run(run)


def _run(job: object) -> None:
    from fedgestalt.exchange.errors import ExchangeError
    from fedgestalt.flake import FlakeError
    from fedgestalt.jobs.context import JobContext, JobInputError
    from fedgestalt.secagg.errors import SecaggError

    assert callable(job)
    try:
        job(JobContext.from_environment())
    except (JobInputError, ExchangeError, SecaggError, FlakeError) as error:
        raise click.ClickException(str(error)) from error
