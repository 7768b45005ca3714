"""``fedgestalt discovery``: clusters of undiagnosed cases, and contact with their owners by mutual consent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from fedgestalt.flake.finding import Band, Finding
    from fedgestalt.lineage import StoredRelease
    from fedgestalt.silo.config import SiteConfig
    from fedgestalt.silo.discovery import Decisions

Command = Callable[..., None]
_EPILOG: Final = "Exit codes: 0 done; 1 the hub did not answer or refused, or input was bad; 2 wrong usage."
_CARRIED: Final = "The agent carries it to the others in its next letters, within ten minutes."


def _site(command: Command) -> Command:
    return click.option(
        "--site",
        "site_file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        required=True,
        help="The site's site.json.",
    )(command)


def _release(command: Command) -> Command:
    return click.option(
        "--release", "reference", required=True, help="A release of the site: digest, its beginning, or name."
    )(command)


@click.group()
def command() -> None:
    """Undiagnosed cases of this hospital that resemble those of at least two others, and contact with their owners.

    A finding is a hint to compare patients, not a diagnosis; some are chance. Who else is in it is only told to those who
    consent, by those who consent: not even the hub knows who does.
    """


@command.command("list", epilog=_EPILOG)
@_site
@_release
def list_command(site_file: Path, reference: str) -> None:
    """List the findings of a release: this hospital's photos, how many others ask for contact, and what was decided."""
    from fedgestalt.silo.discovery import names
    from fedgestalt.silo.matching import HANDLES

    with _opened(site_file, reference) as (_, release, findings, decisions):
        photos = names(release, Path(HANDLES))
        for finding in findings:
            mine = ", ".join(photos.get(handle.hex(), handle.hex()) for handle in finding.mine)
            standing = decisions.standing(finding.handle.hex())
            consents = "you consent" if standing.consent is not None else "you do not consent"
            click.echo(
                f"{finding.handle.hex()[:12]}  {_band(finding.owners)} hospitals, {_band(finding.cases)} photos, "
                f"cohesion {finding.cohesion} of 3, {standing.asked} ask(s) for contact, {consents}, "
                f"{len(standing.contacts)} contact(s)  yours: {mine}"
            )
    click.echo(
        f"{len(findings)} finding(s). A hint to compare patients, not a diagnosis; some are chance.", err=True
    )


@command.command("consent", epilog=_EPILOG)
@click.argument("finding")
@_site
@_release
@click.option(
    "--contact",
    required=True,
    help="Whom to call, at most 300 bytes: read by owners who consent as well, and by nobody else. No patient's data.",
)
def consent_command(finding: str, site_file: Path, reference: str, contact: str) -> None:
    """Offer CONTACT to the other owners of FINDING (its handle or a beginning of it) who offer theirs."""
    from fedgestalt.silo.discovery import find

    with _opened(site_file, reference) as (_, _, findings, decisions):
        handle = find(findings, finding)
        decisions.consent(handle, contact)
    click.echo(f"Finding {handle[:12]}: this hospital consents. {_CARRIED}")


@command.command("withdraw", epilog=_EPILOG)
@click.argument("finding")
@_site
@_release
def withdraw_command(finding: str, site_file: Path, reference: str) -> None:
    """Take the consent to FINDING back. Who has not read the contact by the next letters never will."""
    from fedgestalt.silo.discovery import find

    with _opened(site_file, reference) as (_, _, findings, decisions):
        handle = find(findings, finding)
        before = decisions.withdraw(handle)
    click.echo(f"Finding {handle[:12]}: consent withdrawn. {_CARRIED}")
    if before.consent is not None and before.asked:
        click.echo(f"Not undone: {before.asked} other(s) consented too and may have read the contact.")


@command.command("contacts", epilog=_EPILOG)
@_site
@_release
def contacts_command(site_file: Path, reference: str) -> None:
    """Print the contacts of owners who consented as this hospital did, by finding."""
    with _opened(site_file, reference) as (_, _, findings, decisions):
        for finding in findings:
            for contact in decisions.standing(finding.handle.hex()).contacts:
                text = "".join(c if c.isprintable() else "?" for c in contact.text)
                click.echo(f"{finding.handle.hex()[:12]}  {contact.silo}: {text}")


@command.command("refresh", epilog=_EPILOG)
@_site
def refresh_command(site_file: Path) -> None:
    """Read and write the letters of all findings now: what the agent does every ten minutes.

    Called by hand right after a decision it tells the hub that something was decided, though not what.
    """
    from fedgestalt.silo.config import SiteConfigError, load_site_config
    from fedgestalt.silo.discovery import DiscoveryError, refresh
    from fedgestalt.silo.lock import SiteBusyError

    try:
        done = refresh(load_site_config(site_file))
    except (SiteConfigError, DiscoveryError, SiteBusyError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Letters of {done} finding(s) read and written.")


@command.command("measure", epilog="Exit codes: 0 done; 1 it failed and said why; 2 wrong usage.")
@click.option(
    "--workdir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="The work directory of `fedgestalt run`.",
)
@click.option(
    "--cohorts",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    required=True,
    help="The folder of `fedgestalt synth --undiagnosed`.",
)
@click.option(
    "--release", "reference", required=True, help="A release of the hub: digest, its beginning, or name."
)
def measure_command(workdir: Path, cohorts: Path, reference: str) -> None:
    """Hold the clusters that the hub told against what the synthetic patients truly have.

    Prints how many clusters are false: whose most frequent syndrome makes up less than half, or comes from one hospital.
    """
    from fedgestalt.data import CohortError
    from fedgestalt.exchange.errors import ExchangeError
    from fedgestalt.lineage import ReleaseStore, StoreError
    from fedgestalt.local.judged import NotToldError, judge
    from fedgestalt.local.setup import Layout

    try:
        release = ReleaseStore(Layout(workdir.resolve()).hub / "releases").resolve(reference)
        found = judge(workdir, cohorts, release)
    except (CohortError, ExchangeError, StoreError, NotToldError) as error:
        raise click.ClickException(str(error)) from error
    rate = found.false_rate
    click.echo(f"clusters told: {found.told}, true {found.true}, false {found.false}")
    click.echo(f"held-out syndromes found: {found.found} of {found.reachable} that three hospitals have")
    click.echo("false-cluster rate: " + ("no cluster was told" if rate is None else f"{100 * rate:.1f} %"))
    click.echo("Synthetic faces: this says nothing about real patients.", err=True)


@contextmanager
def _opened(
    site_file: Path, reference: str
) -> Iterator[tuple[SiteConfig, StoredRelease, tuple[Finding, ...], Decisions]]:
    """The site, one of its releases, that epoch's findings and what was decided on them."""
    from fedgestalt.crypto.errors import CryptoError
    from fedgestalt.exchange.errors import ExchangeError
    from fedgestalt.lineage import ReleaseStore, StoreError
    from fedgestalt.silo.config import SiteConfigError, load_site_config
    from fedgestalt.silo.discovery import Decisions, DiscoveryError, connect
    from fedgestalt.silo.lock import SiteBusyError

    errors: tuple[Any, ...] = (SiteConfigError, StoreError, CryptoError, ExchangeError)
    try:
        site = load_site_config(site_file)
        release = ReleaseStore(site.releases).resolve(reference)
        with connect(site) as client:
            findings = client.findings(release.manifest.epoch)
        yield site, release, findings, Decisions(site, release.manifest.epoch)
    except (*errors, DiscoveryError, SiteBusyError) as error:
        raise click.ClickException(str(error)) from error


def _band(band: Band) -> str:
    least, most = band
    return f"{least} or more" if most is None else f"{least} to {most}"
