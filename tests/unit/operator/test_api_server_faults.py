"""What a cluster's bad days mean at the port: a small HTTP server plays them, for a healthy one never does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from fedgestalt_operator.kube import api_server, connection
from fedgestalt_operator.kube.api_server import ApiServerCluster
from fedgestalt_operator.kube.errors import (
    AlreadyExists,
    ClusterError,
    ClusterUnavailable,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    NotServed,
)
from fedgestalt_operator.kube.port import EventType

Answer = Callable[[BaseHTTPRequestHandler], None]
SILO = {
    "apiVersion": "fedgestalt.org/v1alpha1",
    "kind": "Silo",
    "metadata": {"name": "west", "namespace": "f"},
}


class Server(ThreadingHTTPServer):
    """Gives its answers one after the other, the last one for ever; remembers what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, str]] = []
        self.lock = threading.Lock()

    def next(self) -> Answer:
        with self.lock:
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
        self.server.next()(self)

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


def says(code: int, body: Any) -> Answer:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def status(code: int, reason: str, message: str = "because", **details: str) -> Answer:
    return says(
        code, {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    )


def streams(*lines: Any, then: Answer | None = None) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in lines:
            data = (line if isinstance(line, str) else json.dumps(line) + "\n").encode()
            handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if then is not None:
            then(handler)
        else:
            handler.wfile.write(b"0\r\n\r\n")

    return answer


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.close()


def stalls(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(1.0)
    handler.close_connection = True


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cluster(server: Server, tmp_path: Path) -> Iterator[ApiServerCluster]:
    cluster = ApiServerCluster(kubeconfig(tmp_path, server.server_address[1]))
    yield cluster
    cluster.close()


def kubeconfig(folder: Path, port: int) -> Path:
    (folder / "token").write_text("first")
    file = folder / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"tokenFile": str(folder / "token")}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return file


@pytest.mark.parametrize(
    ("answer", "error", "about"),
    [
        (status(403, "Forbidden", 'User "x" cannot get'), Forbidden, "get Silo west in namespace f"),
        (status(401, "Unauthorized"), Forbidden, "get Silo west in namespace f.*credentials"),
        (status(404, "NotFound", name="west", kind="silos"), NotFound, "get Silo west"),
        (status(404, "NotFound", "the server could not find the requested resource"), NotServed, "install"),
        (says(404, "404 page not found\n"), NotServed, "404 page not found"),
        (status(409, "AlreadyExists"), AlreadyExists, "because"),
        (status(409, "Conflict"), Conflict, "because"),
        (status(410, "Expired"), Gone, "because"),
        (status(422, "Invalid", "spec.x: Invalid value"), ValueError, "spec.x: Invalid value"),
        (status(400, "BadRequest", "strict decoding error"), ValueError, "strict decoding error"),
        (status(500, "", "failed to create typed patch object (f/west): .spec.x"), ValueError, "spec.x"),
        (status(429, "TooManyRequests"), ClusterUnavailable, "because"),
        (status(500, "InternalError"), ClusterUnavailable, "because"),
        (says(503, "<html>\n no upstream </html>"), ClusterUnavailable, "<html> no upstream"),
        (says(418, ""), ClusterError, "HTTP 418"),
        (says(200, "not JSON"), ClusterUnavailable, "no answer"),
        (says(200, [1]), ClusterUnavailable, "no JSON object"),
        (hangs_up, ClusterUnavailable, "no answer"),
    ],
)
def test_answers_have_their_errors(server, cluster, answer, error, about):
    server.answers = [answer]
    with pytest.raises(error, match=about) as caught:
        cluster.get("Silo", "f", "west")
    assert type(caught.value) is error
    assert "first" not in str(caught.value)


def test_silence_is_unavailable(server, cluster, monkeypatch):
    monkeypatch.setattr(connection, "READ_TIMEOUT", 0.1)
    server.answers = [stalls]
    with pytest.raises(ClusterUnavailable, match="timed out"):
        cluster.create(SILO)


def test_no_server_at_all_is_unavailable(server, tmp_path):
    cluster = ApiServerCluster(kubeconfig(tmp_path, 1))
    with pytest.raises(ClusterUnavailable, match="create Silo west in namespace f"):
        cluster.create(SILO)


def test_read_whose_connection_breaks_is_repeated(server, cluster):
    server.answers = [hangs_up, says(200, SILO)]
    assert cluster.get("Silo", "f", "west")["metadata"]["name"] == "west"


@pytest.mark.parametrize(
    "write",
    [
        lambda c: c.create(SILO),
        lambda c: c.apply(SILO),
        lambda c: c.patch_status("Silo", "f", "west", {}),
        lambda c: c.delete("Silo", "f", "west"),
    ],
    ids=["create", "apply", "patch_status", "delete"],
)
def test_write_whose_connection_breaks_is_not_repeated(server, cluster, write):
    server.answers = [hangs_up, says(200, SILO)]
    with pytest.raises(ClusterUnavailable):
        write(cluster)
    assert len(server.asked) == 1


def test_busy_server_is_not_asked_again_by_the_adapter(server, cluster):
    server.answers = [status(429, "TooManyRequests")]
    with pytest.raises(ClusterUnavailable):
        cluster.get("Silo", "f", "west")
    assert len(server.asked) == 1


def test_replaced_token_is_read_when_the_old_one_is_refused(server, cluster, tmp_path):
    server.answers = [says(200, SILO), status(401, "Unauthorized"), says(201, SILO)]
    cluster.get("Silo", "f", "west")
    (tmp_path / "token").write_text("second")
    cluster.create(SILO)
    assert [token for _, _, token in server.asked] == ["Bearer first", "Bearer first", "Bearer second"]


def test_refused_credentials_are_tried_once_more_only(server, cluster):
    server.answers = [status(401, "Unauthorized")]
    with pytest.raises(Forbidden):
        cluster.get("Silo", "f", "west")
    assert len(server.asked) == 2


def test_snapshot_that_expires_between_pages_is_listed_anew(server, cluster):
    def page(*names: str, more: str = "") -> Answer:
        items = [{"metadata": {"name": name}} for name in names]
        return says(200, {"metadata": {"resourceVersion": "7", "continue": more}, "items": items})

    server.answers = [page("a", more="token"), status(410, "Expired"), page("a", "b")]
    found, version = cluster.list("Job", "f", {"x": "1"})
    assert [d["metadata"]["name"] for d in found] == ["a", "b"]
    assert version == "7"
    queries = [parse_qs(urlsplit(path).query) for _, path, _ in server.asked]
    assert [sorted(q) for q in queries] == [
        ["labelSelector", "limit"],
        ["continue", "labelSelector", "limit"],
        ["labelSelector"],
    ]


def test_watch_gives_events_that_come_in_pieces(server, cluster):
    line = json.dumps({"type": "ADDED", "object": SILO}) + "\n"
    bookmark = {"type": "BOOKMARK", "object": {"kind": "Silo", "metadata": {"resourceVersion": "9"}}}
    server.answers = [streams(line[:9], line[9:30], line[30:] + line, bookmark)]
    events = list(cluster.watch("Silo", "f", "1", 1.0))
    assert [e.type for e in events] == [EventType.ADDED, EventType.ADDED, EventType.BOOKMARK]
    assert events[-1].version == "9"


def test_watch_that_is_told_gone_in_its_stream_is_gone(server, cluster):
    expired = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    server.answers = [streams({"type": "ERROR", "object": expired})]
    with pytest.raises(Gone, match="too old"):
        list(cluster.watch("Silo", "f", "1", 1.0))


@pytest.mark.parametrize(
    ("end", "about"), [(hangs_up, "prematurely"), (stalls, "timed out")], ids=["breaks", "falls-silent"]
)
def test_watch_that_does_not_end_properly_is_unavailable(server, cluster, end, about, monkeypatch):
    monkeypatch.setattr(api_server, "_WATCH_GRACE", -0.7)
    server.answers = [streams({"type": "ADDED", "object": SILO}, then=end)]
    events = cluster.watch("Silo", "f", "1", 1.0)
    assert next(events).type == EventType.ADDED
    with pytest.raises(ClusterUnavailable, match=about):
        list(events)


def test_watch_of_no_json_is_unavailable(server, cluster):
    server.answers = [streams("<html>\n")]
    with pytest.raises(ClusterUnavailable):
        list(cluster.watch("Silo", "f", "1", 1.0))


def test_watch_never_asks_for_the_servers_own_idea_of_a_timeout(server, cluster):
    server.answers = [streams()]
    assert list(cluster.watch("Silo", "f", "1", 0.0)) == []
    assert parse_qs(urlsplit(server.asked[0][1]).query)["timeoutSeconds"] == ["1"]


def test_threads_share_connections(server, cluster):
    server.answers = [says(200, SILO)]
    threads = [
        threading.Thread(target=lambda: [cluster.get("Silo", "f", "west") for _ in range(20)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 160


@pytest.mark.parametrize(
    ("call", "about"),
    [
        (lambda c: c.get("Silo", "f", ""), "without a name"),
        (lambda c: c.delete("Silo", "f", ""), "without a name"),
        (lambda c: c.list("Silo", ""), "give the namespace"),
        (lambda c: c.get("Namespace", "f", "x"), "lives in no namespace"),
        (lambda c: c.get("StatefulSet", "f", "x"), "StatefulSet is no kind"),
        (lambda c: c.create(SILO | {"apiVersion": "fedgestalt.org/v1"}), "serves fedgestalt.org/v1alpha1"),
    ],
)
def test_questions_that_make_no_sense_are_not_sent(server, cluster, call, about):
    with pytest.raises(ValueError, match=about):
        call(cluster)
    assert server.asked == []


def test_name_cannot_leave_its_place_in_the_path(server, cluster):
    server.answers = [status(404, "NotFound", name="x")]
    with pytest.raises(NotFound):
        cluster.get("Silo", "f", "../../secrets/key?x=1")
    path = server.asked[0][1]
    assert path == "/apis/fedgestalt.org/v1alpha1/namespaces/f/silos/..%2F..%2Fsecrets%2Fkey%3Fx%3D1"


def test_without_any_configuration_the_error_says_what_to_set(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="set KUBECONFIG"):
        ApiServerCluster(tmp_path / "absent")


def test_every_kind_of_ours_is_served_where_its_crd_says():
    from fedgestalt_operator.kube.crds import load_crds
    from fedgestalt_operator.kube.kinds import served

    for kind, crd in load_crds().items():
        spec = crd["spec"]
        what = served(kind)
        assert what.plural == spec["names"]["plural"]
        assert what.api_version == f"{spec['group']}/{spec['versions'][0]['name']}"
        assert what.namespaced == (spec["scope"] == "Namespaced")
