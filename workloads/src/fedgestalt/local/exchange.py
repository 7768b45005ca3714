"""The exchange of a federation on one machine: a process that comes back at the same port."""

from __future__ import annotations

import time
from pathlib import Path

from fedgestalt.exchange.registry import RegisteredSilo, write_registry
from fedgestalt.exchange.tls import TlsFiles, make_tls
from fedgestalt.files import write_atomic
from fedgestalt.local.setup import Layout, load_or_make_identity
from fedgestalt.processes import Child, spawn

START_SECONDS = 60.0
# So long an exchange whose hub was killed may still answer its last requests, and hold port and board.
TAKEOVER_SECONDS = 10.0
PAUSE_SECONDS = 0.5


class ExchangeStartError(Exception):
    """The exchange did not come up; the message holds the end of its log."""


class LocalExchange:
    """Board, tasks and query service below ``layout.hub``."""

    def __init__(self, layout: Layout, seed: int | None = None) -> None:
        """``seed`` fixes the hub's key if it is made now."""
        self._layout = layout
        self.key = load_or_make_identity(layout.hub_key, "hub", seed)
        self.tls: TlsFiles = make_tls(layout.tls, ["127.0.0.1", "localhost"])
        self.url = ""

    @property
    def ca(self) -> Path:
        """The certificate that sites pin."""
        return self.tls.ca

    def register(self) -> None:
        """Let every hospital in that has an identity below the work directory, of earlier rounds too."""
        known = [path.parent.name for path in sorted((self._layout.root / "silos").glob("*/identity.pem"))]
        files = {name: self._layout.silo(name) / "identity.pem" for name in known}
        registered = {
            name: RegisteredSilo(load_or_make_identity(path, name, None).public)
            for name, path in files.items()
        }
        write_registry(self._layout.hub / "silos.json", registered)

    def start(self) -> Child:
        """Start it, at the port it had before if there was one, and wait until it listens.

        One that a signal ends on the way is started again; one that ends by itself, too, for as long as an earlier one
        may be in its way.

        Raises:
            ExchangeStartError: it ended, or does not listen within a minute.
        """
        layout = self._layout
        ready = layout.hub / "exchange.port"
        remembered = layout.hub / "exchange.last-port"
        previous = (remembered.read_text().strip() if remembered.exists() else "") or "0"
        ready.unlink(missing_ok=True)
        child = self._spawn(previous, ready)
        began = time.monotonic()
        while not ready.exists():
            code, waited = child.poll(), time.monotonic() - began
            if waited > START_SECONDS or (code is not None and code >= 0 and waited > TAKEOVER_SECONDS):
                child.stop()
                raise ExchangeStartError(f"the exchange did not start:\n{child.tail()}")
            if code is not None:
                time.sleep(PAUSE_SECONDS)
                child = self._spawn(previous, ready)
            time.sleep(0.05)
        port = ready.read_text().strip()
        write_atomic(remembered, port.encode())
        self.url = f"https://127.0.0.1:{port}"
        return child

    def _spawn(self, port: str, ready: Path) -> Child:
        layout = self._layout
        return spawn(
            "exchange",
            [
                "fedgestalt",
                "exchange",
                "serve",
                *("--dir", str(layout.board)),
                *("--host", "127.0.0.1"),
                *("--port", port),
                *("--hub-key", str(layout.hub_key)),
                *("--tls-cert", str(self.tls.certificate)),
                *("--tls-key", str(self.tls.key)),
                *("--silos", str(layout.hub / "silos.json")),
                *("--ready-file", str(ready)),
            ],
            directory=layout.hub,
            log=layout.logs / "exchange.log",
            # A query is one small product: threads would only wait for each other.
            environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
