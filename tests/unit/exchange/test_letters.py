"""Contact by mutual consent over a real exchange: three hospitals with their files, their decisions and their letters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fedgestalt.cli.main import main
from fedgestalt.crypto.keys import AgreementKey, Identity
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.errors import Code, RefusedError
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.flake.consent import LETTER_LENGTH
from fedgestalt.lineage import ReleaseStore
from fedgestalt.silo import discovery
from fedgestalt.silo.config import SiteConfig, load_site_config
from fedgestalt.silo.discovery import Contact, Decisions, refresh
from fedgestalt.silo.vault import EpochVault

from .conftest import NAMES, ROUND, Federation, digest_of
from .epoch_rows import EPOCH, FIRST, RELEASE, handle
from .test_epochs_discovery import rows

CALL = {name: f"Clinic {name}, +00 {name}" for name in NAMES}


@dataclass
class Hospitals:
    """Sites of a federation in whose epoch one cluster was found, with a case of each."""

    federation: Federation
    sites: dict[str, SiteConfig]
    hub: EpochClient

    def cli(self, name: str, *arguments: str) -> Result:
        site = str(self.sites[name].directory / "site.json")
        release = () if arguments[0] == "refresh" else ("--release", "first")
        done = CliRunner().invoke(main, ["discovery", *arguments, "--site", site, *release])
        assert done.exit_code == 0, done.output
        return done

    def client(self, name: str) -> EpochClient:
        federation = self.federation
        credential = KeyCredential(federation.silos[name], Role.SILO, name, federation.hub.public)
        return EpochClient(federation.url, federation.tls.ca, credential, deadline=10.0)

    def finding(self, name: str) -> str:
        with self.client(name) as client:
            (found,) = client.findings(EPOCH)
        return found.handle.hex()

    def letters(self, turns: int = 1) -> None:
        for _ in range(turns):
            for site in self.sites.values():
                assert refresh(site) == 1

    def contacts(self, name: str) -> tuple[Contact, ...]:
        return Decisions(self.sites[name], EPOCH).standing(self.finding(name)).contacts


@pytest.fixture
def hospitals(enrolled: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hospitals]:
    federation, sites = enrolled, {}
    for name in NAMES:
        folder = tmp_path / "sites" / name
        folder.mkdir(parents=True)
        federation.silos[name].save(folder / "identity.pem")
        (folder / "seed").write_bytes(name.encode().ljust(32, b"s"))
        content = {
            "name": name,
            "exchange": {"url": federation.url, "ca": str(federation.tls.ca)},
            "hubKey": federation.hub.public.hex(),
            "identity": "identity.pem",
            "grant": "grant.yaml",
            "datasets": {},
            "seed": "seed",
        }
        (folder / "site.json").write_text(json.dumps(content))
        sites[name] = load_site_config(folder / "site.json")
        vault = EpochVault(sites[name].state / "epochs.sqlite")
        vault.put(bytes.fromhex(EPOCH), b"k" * 32)
        vault.close()
    roster = {name: SimpleNamespace(identity=key.public.hex()) for name, key in federation.silos.items()}
    manifest = SimpleNamespace(epoch=EPOCH, roster=roster)
    release = SimpleNamespace(manifest=manifest, folder=tmp_path)
    monkeypatch.setattr(discovery, "latest", lambda _: {EPOCH: release})
    monkeypatch.setattr(ReleaseStore, "resolve", lambda *_: release)
    credential = KeyCredential(federation.hub, Role.HUB, "hub", federation.hub.public)
    with EpochClient(federation.url, federation.tls.ca, credential, deadline=10.0) as hub:
        hub.open(EPOCH, RELEASE, NAMES)
        for name in NAMES:
            data = rows(name).encode()
            federation.client(name).upload(ROUND, digest_of(data), data)
            hub.take_rows(EPOCH, name, round_uid=ROUND, digest=digest_of(data))
        assert hub.discover(EPOCH) == 1
        yield Hospitals(federation, sites, hub)


def stored(hospitals: Hospitals) -> bytes:
    return b"".join(path.read_bytes() for path in (hospitals.federation.root / "epochs").iterdir())


def test_two_who_consent_read_each_others_contact_and_the_third_that_two_ask(hospitals: Hospitals) -> None:
    hospitals.letters()
    hospitals.cli("east", "consent", hospitals.finding("east")[:8], "--contact", CALL["east"])
    hospitals.letters()
    listed = hospitals.cli("west", "list").output
    assert "1 ask(s) for contact, you do not consent, 0 contact(s)" in listed
    assert "east" not in listed
    hospitals.cli("west", "consent", hospitals.finding("west"), "--contact", CALL["west"])
    hospitals.letters(2)
    assert hospitals.contacts("east") == (Contact("west", CALL["west"]),)
    assert hospitals.contacts("west") == (Contact("east", CALL["east"]),)
    assert hospitals.contacts("north") == ()
    assert "2 ask(s) for contact" in hospitals.cli("north", "list").output
    assert f"west: {CALL['west']}" in hospitals.cli("east", "contacts").output
    assert not any(text.encode() in stored(hospitals) for text in CALL.values())


def test_a_consent_that_is_withdrawn_in_time_gives_nothing_away(hospitals: Hospitals) -> None:
    finding = hospitals.finding("east")
    hospitals.cli("east", "consent", finding, "--contact", CALL["east"])
    hospitals.letters(2)
    done = hospitals.cli("east", "withdraw", finding)
    assert "Not undone" not in done.output
    hospitals.letters()
    hospitals.cli("west", "consent", hospitals.finding("west"), "--contact", CALL["west"])
    hospitals.letters(3)
    assert hospitals.contacts("east") == hospitals.contacts("west") == ()
    assert Decisions(hospitals.sites["west"], EPOCH).standing(hospitals.finding("west")).asked == 0


def test_a_consent_that_is_withdrawn_too_late_says_so(hospitals: Hospitals) -> None:
    for name in ("east", "west"):
        hospitals.cli(name, "consent", hospitals.finding(name), "--contact", CALL[name])
    hospitals.letters(2)
    assert "1 other(s) consented too" in hospitals.cli("east", "withdraw", hospitals.finding("east")).output


def test_nobody_can_sign_in_anothers_name(hospitals: Hospitals) -> None:
    """A silo of the epoch has the group key; the identity of another it has not."""
    hospitals.cli("east", "consent", hospitals.finding("east"), "--contact", CALL["east"])
    hospitals.cli("west", "consent", hospitals.finding("west"), "--contact", CALL["west"])
    west = hospitals.sites["west"]
    Identity.generate().save(west.directory / "other.pem")
    stranger = Identity.load(west.directory / "other.pem")
    with hospitals.client("west") as client:
        release = discovery.latest(west)[EPOCH]
        forged = discovery._Correspondence(west, stranger, client, release, _group(west))
        for _ in range(2):
            refresh(hospitals.sites["east"])
            forged.refresh()
    refresh(hospitals.sites["east"])
    assert hospitals.contacts("east") == ()
    assert Decisions(hospitals.sites["east"], EPOCH).standing(hospitals.finding("east")).asked == 1


def _group(site: SiteConfig) -> bytes:
    vault = EpochVault(site.state / "epochs.sqlite")
    try:
        return vault.subkey(bytes.fromhex(EPOCH), discovery.Purpose.DISCOVERY)
    finally:
        vault.close()


def test_letters_outlive_a_restart_and_a_new_look_but_not_their_cluster(hospitals: Hospitals) -> None:
    hospitals.cli("east", "consent", hospitals.finding("east"), "--contact", CALL["east"])
    hospitals.letters(2)
    before = hospitals.finding("east")
    hospitals.hub.discover(EPOCH)
    assert hospitals.finding("east") == before
    with hospitals.client("west") as client:
        finding = bytes.fromhex(hospitals.finding("west"))
        assert len(client.read_letters(EPOCH, finding).letters) == 3
        client.withdraw(EPOCH, "west", [handle(FIRST["west"] + 62)], hospitals.federation.silos["west"])
        with pytest.raises(RefusedError, check=lambda error: error.code is Code.FINDING_UNKNOWN):
            client.read_letters(EPOCH, finding)
    assert hospitals.hub.discover(EPOCH) == 0
    assert refresh(hospitals.sites["east"]) == 0


def test_letters_outlive_the_withdrawal_of_a_case_that_is_not_in_their_cluster(hospitals: Hospitals) -> None:
    hospitals.cli("east", "consent", hospitals.finding("east"), "--contact", CALL["east"])
    hospitals.cli("west", "consent", hospitals.finding("west"), "--contact", CALL["west"])
    hospitals.letters(2)
    with hospitals.client("north") as client:
        client.withdraw(EPOCH, "north", [handle(FIRST["north"])], hospitals.federation.silos["north"])
        assert not client.status(EPOCH).look_due, "that is between the exchange and the hub"
    assert hospitals.hub.status(EPOCH).look_due
    assert hospitals.hub.discover(EPOCH) == 1
    assert not hospitals.hub.status(EPOCH).look_due
    hospitals.letters()
    assert [contact.silo for contact in hospitals.contacts("east")] == ["west"]


def test_letters_go_with_their_epoch_and_are_no_error_then(hospitals: Hospitals) -> None:
    hospitals.letters()
    hospitals.hub.end(EPOCH, "d" * 64)
    assert refresh(hospitals.sites["east"]) == 0


def test_what_is_no_letter_is_refused(hospitals: Hospitals) -> None:
    hospitals.letters()
    finding = bytes.fromhex(hospitals.finding("east"))
    others = bytes.fromhex(hospitals.finding("west"))
    key, letter = AgreementKey.from_seed(bytes(32)).public, bytes(LETTER_LENGTH)
    with hospitals.client("west") as west:
        taken = west.read_letters(EPOCH, others).keys[0]
    with hospitals.client("east") as client:
        real: Any = client.read_letters(EPOCH, finding)
        wrong: list[tuple[bytes, bytes, dict[bytes, bytes], Code]] = [
            (others, key, {}, Code.FINDING_UNKNOWN),
            (b"", key, {}, Code.NOT_FOUND),
            (finding, b"short", {}, Code.INVALID),
            (finding, key, {taken: letter[1:]}, Code.INVALID),
            (finding, key, {b"short": letter}, Code.INVALID),
            (finding, key, {bytes([k]) * 32: letter for k in range(129)}, Code.INVALID),
        ]
        for name, own, letters, code in wrong:
            with pytest.raises(RefusedError, check=lambda error, code=code: error.code is code):  # type: ignore[misc]
                client.write_letters(EPOCH, name, own, letters)
        assert client.read_letters(EPOCH, finding) == real, "nothing of it was kept"


def test_bad_input_is_said_before_anything_is_kept(hospitals: Hospitals) -> None:
    site = str(hospitals.sites["east"].directory / "site.json")
    for arguments, said in (
        (["consent", "ffffffff", "--contact", "x"], "0 findings begin with 'ffffffff'"),
        (["consent", hospitals.finding("east"), "--contact", "x" * 301], "1 to 300 bytes, not 301"),
        (["consent", hospitals.finding("east"), "--contact", ""], "1 to 300 bytes, not 0"),
    ):
        done = CliRunner().invoke(main, ["discovery", *arguments, "--site", site, "--release", "first"])
        assert done.exit_code == 1
        assert said in done.output
    assert Decisions(hospitals.sites["east"], EPOCH).standing(hospitals.finding("east")).consent is None
