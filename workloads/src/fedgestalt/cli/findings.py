"""``fedgestalt findings``: the clusters of undiagnosed cases that a hospital has a part in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fedgestalt.flake.finding import Band


@click.command(name="findings")
@click.option(
    "--site",
    "site_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="The site's site.json.",
)
@click.option(
    "--release", "reference", required=True, help="A release of the site: digest, its beginning, or name."
)
def command(site_file: Path, reference: str) -> None:
    """List this hospital's undiagnosed photos that resemble those of at least two other hospitals.

    A finding is a hint to compare patients, not a diagnosis; some are chance. Exit codes: 0 done; 1 the hub did not
    answer or refused; 2 wrong usage.
    """
    from fedgestalt.crypto.errors import CryptoError
    from fedgestalt.crypto.keys import Identity
    from fedgestalt.exchange.epochs.client import EpochClient
    from fedgestalt.exchange.errors import ExchangeError
    from fedgestalt.exchange.tokens import KeyCredential, Role
    from fedgestalt.lineage import ReleaseStore, StoreError
    from fedgestalt.silo.config import SiteConfigError, load_site_config
    from fedgestalt.silo.matching import HANDLES

    try:
        site = load_site_config(site_file)
        release = ReleaseStore(site.releases).resolve(reference)
        credential = KeyCredential(Identity.load(site.identity_file), Role.SILO, site.name, site.hub_key)
        with EpochClient(site.exchange_url, site.ca_file, credential) as client:
            findings = client.findings(release.manifest.epoch)
    except (SiteConfigError, StoreError, CryptoError, ExchangeError) as error:
        raise click.ClickException(str(error)) from error
    path = release.folder / HANDLES
    photos = (
        {handle: photo for photo, handle in json.loads(path.read_text()).items()} if path.exists() else {}
    )
    for finding in findings:
        mine = ", ".join(photos.get(handle.hex(), handle.hex()) for handle in finding.mine)
        click.echo(
            f"{finding.handle.hex()[:12]}  {_band(finding.owners)} hospitals, {_band(finding.cases)} photos, "
            f"cohesion {finding.cohesion} of 3  yours: {mine}"
        )
    click.echo(
        f"{len(findings)} finding(s). A hint to compare patients, not a diagnosis; some are chance.", err=True
    )


def _band(band: Band) -> str:
    least, most = band
    return f"{least} or more" if most is None else f"{least} to {most}"
