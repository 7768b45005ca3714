"""``fedgestalt withdraw``: take a case out of the federation."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="withdraw")
@click.argument("case")
@click.option(
    "--site",
    "site_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="The site's site.json.",
)
def command(case: str, site_file: Path) -> None:
    """Withdraw CASE, a patient or a photo as the site's manifest names it.

    Its rows at the hub go at once, and no later round of this site uses it. Exit codes: 0 done; 1 the case is unknown,
    or the hub could not be told (it is out of use here already; call again); 2 wrong usage.
    """
    from fedgestalt.silo.config import SiteConfigError, load_site_config
    from fedgestalt.silo.withdrawal import WithdrawalError, withdraw

    try:
        done = withdraw(load_site_config(site_file), case)
    except (SiteConfigError, WithdrawalError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(done.photos)} photo(s) are out of use here; {done.rows} row(s) went at the hub.")
    for release in done.releases:
        click.echo(
            f"Release {release[:12]}: RotationDue. Ask the coordinator for a round with operation Rotate."
        )
    click.echo(
        "Not undone: weights that were trained on the case, answers that were given, and rows that a hub kept against its word."
    )
