"""The whole way: a photo at one site, a real exchange with its query service over TLS, the other silo's rows."""

import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fedgestalt.cli.main import main
from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.epochs.service import EpochService
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.epochs.values import Budget
from fedgestalt.exchange.registry import RegisteredSilo, write_registry
from fedgestalt.exchange.server.app import ServerSettings, create_app
from fedgestalt.exchange.server.serve import ExchangeServer, listen
from fedgestalt.exchange.storage import EmbeddedStorage
from fedgestalt.exchange.tls import make_tls
from fedgestalt.flake import Frame, masked_rows
from fedgestalt.serving.federation import Absence, FederationAbsent, HubFederation
from fedgestalt.silo.config import SiteConfig, load_site_config

from .conftest import CLASSES, FRAME, HERE, JPEG, THERE, Cases, Serve, Site, jpeg, rendered
from .process import served


@dataclass
class Exchange:
    """A running exchange; ``site`` is the site.json of the silo that asks."""

    epochs: EpochService
    site: SiteConfig
    site_file: Path
    identities: dict[str, Identity]

    def open(self, epoch: str, queries: int) -> None:
        members = {name: key.public for name, key in self.identities.items()}
        self.epochs.open(epoch, "0" * 64, members, Budget(queries=queries), now=time.time())

    def give(self, epoch: str, owner: str, cases: Cases, width: int) -> None:
        rows = masked_rows(
            cases.embeddings,
            tokens=[token.tobytes() for token in cases.tokens],
            handles=[
                hashlib.sha256(owner.encode() + handle.tobytes()).digest()[:16] for handle in cases.handles
            ],
            roles=["train"] * len(cases.names),
            test_splits=[()] * len(cases.names),
            splits=1,
            frame=Frame.derive(FRAME, cases.embeddings.shape[1], width),
        )
        blob = rows.encode()
        self.epochs.ingest(epoch, owner, hashlib.sha256(blob).hexdigest(), blob, now=time.time())


@pytest.fixture
def exchange(site: Site, tmp_path: Path) -> Iterator[Exchange]:
    tls = make_tls(tmp_path / "tls", ["127.0.0.1"])
    identities = {
        site.release.silo: site.round.agents[site.release.silo].identity,
        "other": Identity.generate(),
    }
    write_registry(
        tmp_path / "silos.json",
        {name: RegisteredSilo(key.public, accepted=True) for name, key in identities.items()},
    )
    storage, store = EmbeddedStorage(tmp_path / "board"), EpochStore(tmp_path / "epochs")
    app = create_app(ServerSettings(hub_key=site.round.key, silos=tmp_path / "silos.json"), storage, store)
    listening = threading.Event()
    with listen("127.0.0.1", 0) as listener:
        server = ExchangeServer(app, tls.certificate, tls.key, lambda port: listening.set())
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        assert listening.wait(10)
        identities[site.release.silo].save(tmp_path / "identity.pem")
        document = {
            "name": site.release.silo,
            "exchange": {"url": f"https://127.0.0.1:{listener.getsockname()[1]}", "ca": str(tls.ca)},
            "hubKey": site.round.key.public.hex(),
            "identity": "identity.pem",
            "grant": "grant.yaml",
            "datasets": {},
            "seed": "seed",
        }
        site_file = tmp_path / "site.json"
        site_file.write_text(json.dumps(document))
        yield Exchange(app.state.epochs, load_site_config(site_file), site_file, identities)
        server.should_exit = True
        thread.join(10)
    storage.close()


@pytest.fixture
def federation(site: Site, exchange: Exchange) -> Iterator[HubFederation]:
    made = HubFederation.of_site(exchange.site, site.epoch)
    yield made
    made.close()


def _fill(site: Site, exchange: Exchange, queries: int) -> None:
    exchange.open(site.epoch, queries)
    for owner, cases in ((site.release.silo, site.own), ("other", site.others)):
        exchange.give(site.epoch, owner, cases, site.release.frame.width)


def test_a_photo_finds_the_other_silos_cases_through_the_hub(
    site: Site, exchange: Exchange, federation: HubFederation, serve: Serve
) -> None:
    _fill(site, exchange, queries=1)
    client = serve(federation)
    photo = jpeg(rendered(3, 1, 1))
    answer = client.post("/v1/analyses", content=photo, headers=JPEG).json()
    assert answer["notices"] == []
    found = answer["federated"]["candidates"]
    assert found[0]["syndrome"] == CLASSES[3].name
    assert {candidate["syndrome"] for candidate in found} == {CLASSES[s].name for s in THERE}
    assert {c["syndrome"] for c in answer["local"]["candidates"]} == {CLASSES[s].name for s in HERE}
    assert answer["federated"]["budgetLeft"] == 0

    spent = client.post("/v1/analyses", content=photo, headers=JPEG).json()
    assert spent["federated"] is None
    assert [(n["code"], n["cause"]) for n in spent["notices"]] == [("FederationRefused", "BudgetSpent")]
    assert spent["local"] == answer["local"]


def test_the_command_asks_the_hub_as_the_site(site: Site, exchange: Exchange, tmp_path: Path) -> None:
    _fill(site, exchange, queries=5)
    with served(site.folder, tmp_path, "--site", str(exchange.site_file)) as client:
        answer = client.post("/v1/analyses", content=jpeg(rendered(3, 1, 1)), headers=JPEG).json()
    assert answer["federated"]["candidates"][0]["syndrome"] == CLASSES[3].name
    assert answer["federated"]["budgetLeft"] == 4


def test_the_command_refuses_another_sites_release(site: Site, exchange: Exchange, tmp_path: Path) -> None:
    document = json.loads(exchange.site_file.read_bytes()) | {"name": "other"}
    exchange.site_file.write_text(json.dumps(document))
    options = ["--release", str(site.folder), "--site", str(exchange.site_file), "--port", "0"]
    done = CliRunner().invoke(main, ["serve", *options])
    assert done.exit_code == 1
    assert f"the release of {site.release.silo}" in done.output


def test_an_epoch_that_the_hub_does_not_have_is_a_refusal(site: Site, federation: HubFederation) -> None:
    with pytest.raises(FederationAbsent) as caught:
        federation.ask(np.eye(1, site.release.frame.width)[0])
    assert (caught.value.reason, caught.value.cause) == (Absence.REFUSED, "EpochUnknown")


def test_an_exchange_that_is_not_there_is_unreachable(site: Site, exchange: Exchange) -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    absent = dataclasses.replace(exchange.site, exchange_url=f"https://127.0.0.1:{port}")
    federation = HubFederation.of_site(absent, site.epoch, timeout=0.1)
    with pytest.raises(FederationAbsent) as caught:
        federation.ask(np.eye(1, site.release.frame.width)[0])
    federation.close()
    assert caught.value.reason is Absence.UNREACHABLE
