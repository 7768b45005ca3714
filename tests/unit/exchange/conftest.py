"""A real exchange on loopback with TLS, in a thread; a federation of three silos and one round."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedgestalt.crypto.delegation import Delegation
from fedgestalt.crypto.keys import AgreementKey, Identity, SigningKey
from fedgestalt.exchange.chain import ChainState, MemoryChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.exchange.registry import RegisteredSilo, write_registry
from fedgestalt.exchange.server.app import ServerSettings, create_app
from fedgestalt.exchange.server.serve import ExchangeServer, listen
from fedgestalt.exchange.server.state import ServerState
from fedgestalt.exchange.storage import EmbeddedStorage, Limits
from fedgestalt.exchange.tls import TlsFiles, make_tls
from fedgestalt.exchange.tokens import Credential, KeyCredential, Role
from fedgestalt.secagg.messages import Kind, Message, Slot, sign

ROUND = "7f0c2f1e-round"
NAMES = ("east", "north", "west")
FAR_FUTURE = 1 << 34


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Federation:
    """Keys, an exchange that runs in a thread and can be stopped and started, and clients."""

    root: Path
    tls: TlsFiles
    hub: Identity = field(default_factory=Identity.generate)
    silos: dict[str, Identity] = field(default_factory=lambda: {name: Identity.generate() for name in NAMES})
    delegated: dict[str, SigningKey] = field(
        default_factory=lambda: {name: SigningKey.generate() for name in NAMES}
    )
    limits: Limits = field(default_factory=lambda: Limits(reserve_bytes=0))
    port: int = 0
    revoked: set[str] = field(default_factory=set)
    _stop: Callable[[], None] | None = None
    _clients: list[BoardClient] = field(default_factory=list)

    @property
    def board(self) -> Path:
        return self.root / "board"

    @property
    def registry(self) -> Path:
        return self.root / "silos.json"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def write_registry(self) -> None:
        write_registry(
            self.registry,
            {
                name: RegisteredSilo(key.public, accepted=name not in self.revoked)
                for name, key in self.silos.items()
            },
        )

    def start(self) -> None:
        self.write_registry()
        storage = EmbeddedStorage(self.board, self.limits)
        epochs = EpochStore(self.root / "epochs")
        app = create_app(ServerSettings(hub_key=self.hub, silos=self.registry), storage, epochs)
        self.state: ServerState = app.state.shared
        listening = threading.Event()

        def ready(port: int) -> None:
            self.port = port
            listening.set()

        server = ExchangeServer(app, self.tls.certificate, self.tls.key, ready)
        listener = listen("127.0.0.1", self.port)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        assert listening.wait(10), "the exchange did not start"

        def stop() -> None:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()
            listener.close()
            storage.close()
            epochs.close()

        self._stop = stop

    def stop(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.stop()

    def client(
        self,
        name: str,
        *,
        credential: Credential | None = None,
        state: ChainState | None = None,
        hub_key: bytes | None = None,
        deadline: float = 10.0,
    ) -> BoardClient:
        if credential is None:
            role = Role.HUB if name == "hub" else Role.SILO
            key = self.hub if name == "hub" else self.silos[name]
            credential = KeyCredential(key, role, name, self.hub.public)
        client = BoardClient(
            self.url,
            self.tls.ca,
            credential,
            name=name,
            hub_key=hub_key or self.hub.public,
            state=state or MemoryChainState(),
            deadline=deadline,
        )
        self._clients.append(client)
        return client

    def hub_message(
        self, kind: Kind, body: dict[str, object], *, blobs: tuple[str, ...] = (), **at: int
    ) -> bytes:
        slot = Slot(ROUND, at.get("enrolment", 1), "", 0, 0, kind, "hub")
        return sign(slot, body, blobs, self.hub).encode()

    def open_round(self, members: tuple[str, ...] = NAMES, *, round_uid: str = ROUND, **more: object) -> None:
        """Put the computation on the board."""
        silos = {name: self.silos[name].public.hex() for name in members}
        computation = json.dumps({"silos": silos, **more}).encode()
        digest = digest_of(computation)
        hub = self.client("hub")
        hub.upload(round_uid, digest, computation)
        slot = Slot(round_uid, 0, "", 0, 0, Kind.COMPUTATION, "hub")
        hub.post(sign(slot, {"digest": bytes.fromhex(digest)}, (digest,), self.hub).encode())

    def enrol_message(self, name: str, *, signer: SigningKey | None = None, enrolment: int = 1) -> Message:
        identity, signing = self.silos[name], self.delegated[name]
        sealing = AgreementKey.from_seed(bytes(32)).public
        delegation = Delegation(ROUND, enrolment, name, signing.public, sealing, FAR_FUTURE)
        body = {
            "identity": identity.public,
            "signing": signing.public,
            "sealing": sealing,
            "not_after": FAR_FUTURE,
            "delegation": delegation.sign(identity),
            "commitment": bytes(32),
            "weight": 10,
        }
        return sign(Slot(ROUND, enrolment, "", 0, 0, Kind.ENROL, name), body, (), signer or identity)

    def endorse(self, name: str, value: int = 0, *, key: SigningKey | None = None) -> bytes:
        slot = Slot(ROUND, 1, "", 0, 0, Kind.ENDORSE, name)
        return sign(slot, {"h": bytes([value]) * 32}, (), key or self.delegated[name]).encode()

    def masked(self, name: str, data: bytes, *, t: int = 1) -> bytes:
        digest = digest_of(data)
        slot = Slot(ROUND, 1, "small", t, 1, Kind.MASKED, name)
        body = {"digest": bytes.fromhex(digest), "length": len(data)}
        return sign(slot, body, (digest,), self.delegated[name]).encode()


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls(tmp_path_factory.mktemp("tls"), ["localhost", "127.0.0.1"])


@pytest.fixture(scope="session")
def closing() -> Iterator[Callable[[Federation], None]]:
    """Closes federations beside the tests that follow: a server takes a fifth of a second to end."""
    with ThreadPoolExecutor(4) as pool:
        under_way: list[Future[None]] = []
        yield lambda federation: under_way.append(pool.submit(federation.close))
        for future in under_way:
            future.result()


@pytest.fixture
def federation(tmp_path: Path, tls: TlsFiles, closing: Callable[[Federation], None]) -> Iterator[Federation]:
    made = Federation(tmp_path, tls)
    made.start()
    yield made
    closing(made)


@pytest.fixture
def enrolled(federation: Federation) -> Federation:
    """A round with all three silos enrolled: messages 1 to 4."""
    federation.open_round()
    for name in NAMES:
        federation.client(name).post(federation.enrol_message(name).encode())
    return federation
