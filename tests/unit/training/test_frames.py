"""Frames refuse hostile sizes and shapes before they take memory."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import cbor2
import numpy as np
import pytest

from fedgestalt.training.endpoint import TrainerEndpoint
from fedgestalt.training.frames import FrameError, Limits, Tensor, read_frame, send_frame
from fedgestalt.training.sockets import connect

from .agents import Recorder

Pair = tuple[socket.socket, socket.socket]
LIMITS = Limits(header=1 << 16, payload=1 << 16, tensors=10)


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, two = socket.socketpair()
    one.settimeout(2.0)
    two.settimeout(2.0)
    yield one, two
    one.close()
    two.close()


def raw(header: Any, payload: bytes = b"", magic: bytes = b"FGL1", announced: int | None = None) -> bytes:
    encoded = header if isinstance(header, bytes) else cbor2.dumps(header, canonical=True)
    size = len(payload) if announced is None else announced
    return struct.pack("<4sIQ", magic, len(encoded), size) + encoded + payload


def test_a_frame_comes_back_as_it_was_sent(pair: Pair) -> None:
    tensors: dict[str, Tensor] = {
        "b": np.arange(6.0).reshape(2, 3),
        "a": np.array([[1.5]], dtype=np.float32),
        "e": np.zeros((0, 3)),
    }
    send_frame(pair[0], {"op": "x", "n": 3}, tensors)
    frame = read_frame(pair[1], LIMITS)
    assert frame.header == {"op": "x", "n": 3}
    assert list(frame.tensors) == ["b", "a", "e"]
    assert all(frame.tensors[n].dtype == tensors[n].dtype for n in tensors)
    assert all(np.array_equal(frame.tensors[n], tensors[n]) for n in tensors)


def test_big_endian_and_strided_arrays_travel_by_value(pair: Pair) -> None:
    array = np.arange(12, dtype=">f8").reshape(3, 4)[:, ::2]
    send_frame(pair[0], {}, {"a": array})
    np.testing.assert_array_equal(read_frame(pair[1], LIMITS).tensors["a"], array)


@pytest.mark.parametrize("array", [np.arange(3), np.array([1j]), np.zeros(1, np.float16), np.array(["a"])])
def test_only_float32_and_float64_travel(pair: Pair, array: Any) -> None:
    with pytest.raises(TypeError, match="only float32 and float64"):
        send_frame(pair[0], {}, {"a": array})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (raw({"tensors": []}, magic=b"HTTP"), "magic"),
        (struct.pack("<4sIQ", b"FGL1", 1 << 30, 0), "a header of"),
        (struct.pack("<4sIQ", b"FGL1", 1, 1 << 60), "a payload of"),
        (raw(b"\xff\xff\xff"), "CBOR"),
        (raw([1, 2]), "map"),
        (raw({1: 2}), "map"),
        (raw({"op": "x"}), "list of at most"),
        (raw({"tensors": [["a", "f4", [1]]] * 11}), "list of at most"),
        (raw({"tensors": [["a", "f4", [1]]] * 2}, b"12345678"), "twice"),
        (raw({"tensors": [["a", "i8", [1]]]}, b"12345678"), "not listed as"),
        (raw({"tensors": [["a", "f4", [-1]]]}), "impossible"),
        (raw({"tensors": [["a", "f4", [True]]]}, b"1234"), "impossible"),
        (raw({"tensors": [["a", "f4", [1] * 9]]}, b"1234"), "not listed as"),
        (raw({"tensors": [["a", "f4", [1 << 35, 1 << 35]]]}, b"1234"), "announced"),
        (raw({"tensors": [["a", "f4", [2]]]}, b"1234"), "announced"),
        (raw({"tensors": []}, b"1234"), "announced"),
    ],
)
def test_bytes_that_are_no_frame_are_refused(pair: Pair, content: bytes, problem: str) -> None:
    pair[0].sendall(content)
    with pytest.raises(FrameError, match=problem):
        read_frame(pair[1], LIMITS)


@pytest.mark.parametrize("missing", [1, 4, 20])
def test_a_frame_that_breaks_off_is_an_error(pair: Pair, missing: int) -> None:
    pair[0].sendall(raw({"tensors": [["a", "f8", [2]]]}, bytes(16))[:-missing])
    pair[0].close()
    with pytest.raises(FrameError, match="closed"):
        read_frame(pair[1], LIMITS)


def test_a_hostile_peer_does_not_stop_the_endpoint(socket_path: Any) -> None:
    with TrainerEndpoint(socket_path, Recorder()):
        for content in (
            b"GET / HTTP/1.1\r\n\r\n",
            raw({"tensors": []}),
            raw({"v": 1, "op": 7, "tensors": []}),
        ):
            connection = connect(socket_path, 2.0)
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
            connection.close()
        connection = connect(socket_path, 2.0)
        send_frame(connection, {"v": 1, "op": "resume"}, {})
        assert read_frame(connection, LIMITS).header == {"type": "ok", "members": {}}
        connection.close()


@pytest.mark.parametrize(
    "header",
    [
        {"v": 2, "op": "resume"},
        {"op": "resume"},
        {"v": 1, "op": "aggregate", "member": "m", "t": 0},
        {"v": 1, "op": "aggregate", "member": 3, "t": 1},
        {"v": 1, "op": "rows", "rows": [{}]},
        {"v": 1, "op": "rows", "rows": "all"},
        {"v": 1, "op": "delete"},
    ],
)
def test_a_malformed_request_is_answered_with_an_error(socket_path: Any, header: dict[str, Any]) -> None:
    agent = Recorder()
    with TrainerEndpoint(socket_path, agent):
        connection = connect(socket_path, 2.0)
        send_frame(connection, header, {})
        answer = read_frame(connection, LIMITS).header
        connection.close()
    assert answer["type"] == "error"
    assert answer["code"] in {"version", "bad-request"}
    assert agent.calls == []


def test_a_large_tensor_crosses_in_pieces(pair: Pair) -> None:
    tensor = np.random.default_rng(0).normal(size=300_000)
    sender = threading.Thread(target=send_frame, args=(pair[0], {}, {"a": tensor}))
    sender.start()
    frame = read_frame(pair[1], Limits())
    sender.join()
    assert frame.tensors["a"].tobytes() == tensor.tobytes()
