"""A round that is deleted while real agents train it, one of them in a cluster of its own: what is left of it anywhere."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from tests.e2e.numeric_federation import SILOS, VOCABULARY, document

from fedgestalt.exchange.errors import BlobGoneError
from fedgestalt.secagg.messages import Kind, Message
from fedgestalt_operator.hub.vocabulary import vocabulary_document

from .api_server import ApiServer
from .hub import Hub, running_hub
from .test_two_clusters import Hospitals, phase

pytestmark = pytest.mark.timeout(400)


@dataclass
class Deleted:
    """A round that was deleted in the middle of its first aggregation."""

    hub: Hub
    hospitals: Hospitals
    uid: str

    def messages(self) -> list[Message]:
        with self.hub.hub_client() as client:
            return [Message.decode(entry.message) for entry in client.entries(self.uid, 0)]


def until(holds: Callable[[], object], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not so after {seconds:.0f} s: {what}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def deleted(
    api_server: ApiServer, site_server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deleted]:
    folder = tmp_path_factory.mktemp("deleted")
    namespace = api_server.namespace(f"hub-{uuid.uuid4().hex[:8]}")
    with running_hub(api_server, namespace, folder / "hub", SILOS) as hub:
        vocabulary = vocabulary_document("numbers", namespace, VOCABULARY)
        api_server.create(f"/api/v1/namespaces/{namespace}/configmaps", vocabulary)
        hospitals = Hospitals(hub, site_server, folder / "sites")
        try:
            hospitals.start()
            uid = hub.create(document(SILOS))["metadata"]["uid"]
            hub.wait_for("federationrounds", "numbers", lambda d: phase(d) == "Training", 200)
            made = Deleted(hub, hospitals, uid)
            until(lambda: any(m.slot.kind is Kind.SURVIVORS for m in made.messages()), "all have uploaded")
            hub.server.call("DELETE", f"{hub.group}/federationrounds/numbers")
            yield made
        finally:
            hospitals.stop()


def finished(hospitals: Hospitals, uid: str) -> set[str]:
    """Hospitals whose agents took the round for over: its secrets are deleted right after that."""
    return {name for name in SILOS if any(hospitals.layout.silo(name).rglob(f"{uid[:8]}/finished"))}


def test_every_agent_ends_the_round(deleted: Deleted) -> None:
    until(lambda: finished(deleted.hospitals, deleted.uid) == set(SILOS), "each agent has ended the round")
    failed = [m for m in deleted.messages() if m.slot.kind is Kind.FAILED]
    assert [m.body["reason"] for m in failed] == ["Deleted"]


def test_its_tasks_go_at_the_exchange_and_in_the_hospitals_cluster(deleted: Deleted) -> None:
    with deleted.hub.hub_client() as client:
        until(lambda: deleted.uid not in client.rounds(), "the exchange gives nobody its tasks")
    until(lambda: not deleted.hospitals.list("silotasks"), "west's cluster has none of its tasks")


def test_what_the_silos_uploaded_is_deleted(deleted: Deleted) -> None:
    masked = [m for m in deleted.messages() if m.slot.kind is Kind.MASKED]
    assert len(masked) == len(SILOS)
    with deleted.hub.hub_client() as client:
        until(lambda: deleted.uid not in client.rounds(), "all is done")
        for message in masked:
            with pytest.raises(BlobGoneError):
                client.download(deleted.uid, message.blobs[0])
