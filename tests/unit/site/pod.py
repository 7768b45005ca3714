"""A pod of an inference service, played by a small HTTP server: it says which release it has loaded, or will not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Pod(ThreadingHTTPServer):
    """Answers GET /v1/release with `body` and `status`; `asked` counts requests.

    As several pods at once it answers GET /NAME/v1/release with what NAME `loads`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.asked = 200, b"{}", 0
        self.bodies: dict[str, bytes] = {}
        self.hang = threading.Event()
        self.hang.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def loads(self, digest: str, name: str = "") -> None:
        """It has loaded this release (`sha256:` and 64 digits)."""
        body = json.dumps({"digest": digest.removeprefix("sha256:")}).encode()
        self.status = 200
        if name:
            self.bodies[f"/{name}/v1/release"] = body
        else:
            self.body = body


class _Handler(BaseHTTPRequestHandler):
    server: Pod

    def do_GET(self) -> None:
        self.server.asked += 1
        self.server.hang.wait(10)
        bodies = {"/v1/release": self.server.body, **self.server.bodies}
        body = bodies.get(self.path, b"")
        self.send_response(self.server.status if self.path in bodies else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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
