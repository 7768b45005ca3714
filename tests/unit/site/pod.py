"""A pod of an inference service, played by a small HTTP server: it says which release it has loaded, or will not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Pod(ThreadingHTTPServer):
    """Answers GET /v1/release with `body` and `status`; `asked` counts requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.asked = 200, b"{}", 0
        self.hang = threading.Event()
        self.hang.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def loads(self, digest: str) -> None:
        """It has loaded this release (`sha256:` and 64 digits)."""
        self.status, self.body = 200, json.dumps({"digest": digest.removeprefix("sha256:")}).encode()


class _Handler(BaseHTTPRequestHandler):
    server: Pod

    def do_GET(self) -> None:
        self.server.asked += 1
        self.server.hang.wait(10)
        found = self.path == "/v1/release"
        self.send_response(self.server.status if found else 404)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@contextmanager
def running_pod() -> Iterator[Pod]:
    """A pod that listens for as long as the block lasts."""
    with Pod() as pod:
        thread = threading.Thread(target=pod.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield pod
        finally:
            pod.hang.set()
            pod.shutdown()
            thread.join(10)


def rolled_out(
    deployment: dict[str, Any], *, pods: int = 1, updated: int = 1, available: int = 1
) -> dict[str, Any]:
    """The status that the Deployment controller writes."""
    complete = updated == pods == available
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": pods,
        "updatedReplicas": updated,
        "readyReplicas": available,
        "availableReplicas": available,
        "conditions": [
            {
                "type": "Progressing",
                "status": "True",
                "reason": "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated",
                "message": "",
                "lastTransitionTime": "2027-01-15T08:00:00Z",
                "lastUpdateTime": "2027-01-15T08:00:00Z",
            }
        ],
    }
