"""A hub as the charts would run it: the operator under its ServiceAccount, beside a real exchange, against a real API server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from fedgestalt.crypto.keys import Identity
from fedgestalt.exchange.chain import MemoryChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.tls import make_tls
from fedgestalt.exchange.tokens import KeyCredential, Role
from fedgestalt.secagg.messages import HUB
from fedgestalt_operator.api import API_VERSION
from fedgestalt_operator.hub.vocabulary import vocabulary_document

from .api_server import ApiServer
from .processes import Process, free_port

RULES: Final = Path(__file__).parents[2] / "charts" / "fedgestalt-hub" / "files" / "operator-role-rules.yaml"
ACCOUNT: Final = "fedgestalt-operator"
SECRET: Final = "fedgestalt-exchange-job"
VOCABULARY: Final = b'{"frequent":["SYN:F001"],"rare":[]}'


@dataclass
class Hub:
    """A running hub. Silos are identities here; nothing plays them unless a test does."""

    server: ApiServer
    namespace: str
    folder: Path
    resync: float
    silos: Mapping[str, Identity]
    key: Identity
    exchange_url: str
    ca: Path
    probe_port: int = field(default_factory=free_port)
    operator: Process | None = None
    exchange: Process | None = None

    @property
    def group(self) -> str:
        """The path of this namespace in the project's API group."""
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}"

    def start_operator(self) -> None:
        """Start the operator, or start it anew."""
        kubeconfig = self.server.kubeconfig(
            f"system:serviceaccount:{self.namespace}:{ACCOUNT}", self.namespace
        )
        self.probe_port = free_port()
        options = {
            "namespace": self.namespace,
            "exchange-url": self.exchange_url,
            "exchange-ca": self.ca,
            "hub-key": self.folder / "key.pem",
            "state": self.folder / "state",
            "kubeconfig": kubeconfig,
            "probe-host": "127.0.0.1",
            "probe-port": self.probe_port,
            "resync": self.resync,
            "log-format": "text",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.operator = Process(
            self.folder, [Path(sys.executable).with_name("fedgestalt-operator"), "hub", *words]
        )

    def wait_ready(self, seconds: float = 60) -> None:
        """Until the readiness probe says so."""
        assert self.operator is not None
        self.operator.wait_until(lambda: self.probe("/readyz") == 200, "/readyz", seconds)

    def start_exchange(self) -> None:
        """Start the exchange at its port, or start it anew."""
        port = self.exchange_url.rsplit(":", 1)[1]
        options = {
            "dir": self.folder / "board",
            "port": port,
            "hub-key": self.folder / "key.pem",
            "tls-cert": self.folder / "tls" / "server.pem",
            "tls-key": self.folder / "tls" / "server-key.pem",
            "silos": self.folder / "silos.json",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [Path(sys.executable).with_name("fedgestalt"), "exchange", "serve", *words]
        self.exchange = Process(self.folder, command)
        self.exchange.wait_until(self._exchange_answers, "the exchange's /healthz")

    def _exchange_answers(self) -> bool:
        try:
            return httpx.get(f"{self.exchange_url}/healthz", verify=str(self.ca), trust_env=False).is_success
        except httpx.TransportError:
            return False

    def probe(self, path: str) -> int:
        """The status code of a probe; 0 where nobody answers."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.probe_port}{path}", trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def metrics(self) -> dict[str, float]:
        """The operator's metrics by their name with labels."""
        text = httpx.get(f"http://127.0.0.1:{self.probe_port}/metrics", trust_env=False).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    def client(self, silo: str) -> BoardClient:
        """The exchange as one silo sees it."""
        credential = KeyCredential(self.silos[silo], Role.SILO, silo, self.key.public)
        return BoardClient(
            self.exchange_url,
            self.ca,
            credential,
            name=silo,
            hub_key=self.key.public,
            state=MemoryChainState(),
        )

    def hub_client(self) -> BoardClient:
        """The exchange as the hub sees it."""
        credential = KeyCredential(self.key, Role.HUB, HUB, self.key.public)
        return BoardClient(
            self.exchange_url,
            self.ca,
            credential,
            name=HUB,
            hub_key=self.key.public,
            state=MemoryChainState(),
        )

    def create(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Create one of our resources as admin."""
        plural = f"{document['kind'].lower()}s"
        return self.server.call("POST", f"{self.group}/{plural}", document)

    def get(self, plural: str, name: str) -> dict[str, Any]:
        """One of our resources."""
        return self.server.call("GET", f"{self.group}/{plural}/{name}")

    def list(self, plural: str) -> list[dict[str, Any]]:
        """All of ours of one kind."""
        items: list[dict[str, Any]] = self.server.call("GET", f"{self.group}/{plural}")["items"]
        return items

    def register(self) -> None:
        """Create the Silos."""
        until = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for name, identity in self.silos.items():
            spec = {"accepted": True, "identities": [{"key": identity.public.hex(), "notAfter": until}]}
            self.create({"apiVersion": API_VERSION, "kind": "Silo", "metadata": {"name": name}, "spec": spec})

    def wait_for(self, plural: str, name: str, ready: Any, seconds: float = 60) -> dict[str, Any]:
        """A resource once `ready(document)` holds. Raises TimeoutError with what it was last."""
        end = time.monotonic() + seconds
        while True:
            document = self.get(plural, name)
            if ready(document):
                return document
            if time.monotonic() > end:
                raise TimeoutError(f"{plural} {name} after {seconds:.0f} s: {document.get('status')}")
            time.sleep(0.1)


def round_document(name: str, silos: Sequence[str], *, start: int = 3600) -> dict[str, Any]:
    """A FederationRound with one member."""
    return {
        "apiVersion": API_VERSION,
        "kind": "FederationRound",
        "metadata": {"name": name},
        "spec": {
            "operation": "Train",
            "silos": list(silos),
            "purpose": "DUO:0000042",
            "dataset": "synthetic",
            "vocabulary": {"name": "vocabulary", "digest": f"sha256:{sha256(VOCABULARY).hexdigest()}"},
            "training": {
                "members": [{"name": "r50", "extractor": "iresnet50", "trainable": True, "batchSize": 64}],
                "communicationRounds": 10,
                "localEpochs": 5,
            },
            "quorum": {"minSilos": 3, "stragglerTimeout": 600},
            "deadlines": {"start": start, "active": 86400},
        },
    }


def grant_rights(server: ApiServer, namespace: str) -> None:
    """The operator's ServiceAccount with the rules of the chart, and the Secret that the chart makes."""
    server.service_account(namespace, ACCOUNT)
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = yaml.safe_load(RULES.read_text())
    server.create(f"{rbac}/roles", {"metadata": {"name": ACCOUNT}, "rules": rules})
    server.create(
        f"{rbac}/rolebindings",
        {
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
        },
    )
    server.create(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": SECRET}})


@contextmanager
def running_hub(
    server: ApiServer, namespace: str, folder: Path, silos: Sequence[str], *, resync: float = 300.0
) -> Iterator[Hub]:
    """Exchange and operator of a fresh hub, for as long as the block lasts; CRDs are there, Silos registered."""
    folder.mkdir(parents=True, exist_ok=True)
    key = Identity.generate()
    key.save(folder / "key.pem")
    (folder / "silos.json").write_text('{"silos": {}}')
    tls = make_tls(folder / "tls", ["127.0.0.1"])
    grant_rights(server, namespace)
    vocabulary = vocabulary_document("vocabulary", namespace, VOCABULARY)
    server.create(f"/api/v1/namespaces/{namespace}/configmaps", vocabulary)
    hub = Hub(
        server=server,
        namespace=namespace,
        folder=folder,
        resync=resync,
        silos={name: Identity.generate() for name in silos},
        key=key,
        exchange_url=f"https://127.0.0.1:{free_port()}",
        ca=tls.ca,
    )
    try:
        hub.start_exchange()
        hub.start_operator()
        hub.wait_ready()
        hub.register()
        yield hub
    finally:
        for process in (hub.operator, hub.exchange):
            if process is not None:
                process.stop()
