"""Blobs over the wire: chunks, resumption, ranges, who may read and delete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.exchange.errors import BlobGoneError, BoardFullError, Code, RefusedError
from fedgestalt.exchange.storage import Limits
from fedgestalt.exchange.tls import TlsFiles
from fedgestalt.exchange.tokens import KeyCredential, Role

from .conftest import ROUND, Federation, digest_of

BIG = os.urandom(3 * (1 << 20) + 17)


def test_what_is_uploaded_in_chunks_comes_back_whole(enrolled: Federation, tmp_path: Path) -> None:
    west, hub = enrolled.client("west"), enrolled.client("hub")
    west.upload(ROUND, digest_of(BIG), BIG)
    west.upload(ROUND, digest_of(BIG), BIG)
    assert hub.download(ROUND, digest_of(BIG)) == BIG
    path = tmp_path / "out" / "blob"
    hub.download_to(ROUND, digest_of(BIG), path)
    assert path.read_bytes() == BIG
    assert [file.name for file in path.parent.iterdir()] == ["blob"]
    source = tmp_path / "source"
    source.write_bytes(BIG[:5])
    west.upload(ROUND, digest_of(BIG[:5]), source)
    assert west.download(ROUND, digest_of(BIG[:5])) == BIG[:5]
    west.upload(ROUND, digest_of(b""), b"")
    assert west.download(ROUND, digest_of(b"")) == b""


def test_an_upload_goes_on_where_the_cut_was(enrolled: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    west = enrolled.client("west")
    transport = west._transport
    real, sent = transport.request, []

    def cut(method: str, path: str, **rest: Any) -> Any:
        if method == "PUT":
            sent.append(rest["params"]["offset"])
            if len(sent) == 3:
                raise KeyboardInterrupt
        return real(method, path, **rest)

    monkeypatch.setattr(transport, "request", cut)
    with pytest.raises(KeyboardInterrupt):
        west.upload(ROUND, digest_of(BIG), BIG)
    enrolled.stop()
    enrolled.start()
    west.upload(ROUND, digest_of(BIG), BIG)
    assert sent == [0, 1 << 20, 2 << 20, 2 << 20, 3 << 20]
    assert enrolled.client("hub").download(ROUND, digest_of(BIG)) == BIG


def test_a_chunk_whose_answer_was_lost_is_not_doubled(
    enrolled: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    west = enrolled.client("west")
    transport = west._transport
    real, lost = transport.request, []

    def repeat(method: str, path: str, **rest: Any) -> Any:
        if method == "PUT" and not lost:
            lost.append(real(method, path, **rest))  # it arrived; the client sends it once more
        return real(method, path, **rest)

    monkeypatch.setattr(transport, "request", repeat)
    west.upload(ROUND, digest_of(BIG), BIG)
    assert lost
    assert enrolled.client("hub").download(ROUND, digest_of(BIG)) == BIG


def test_a_blob_takes_one_request_for_each_chunk_and_one_to_ask_where_it_has_several(
    enrolled: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    west = enrolled.client("west")
    real, sent = west._transport.request, []

    def counted(method: str, path: str, **rest: Any) -> Any:
        sent.append(method)
        return real(method, path, **rest)

    monkeypatch.setattr(west._transport, "request", counted)
    west.upload(ROUND, digest_of(b"small"), b"small")
    assert sent == ["PUT"]
    assert enrolled.client("hub").download(ROUND, digest_of(b"small")) == b"small"
    sent.clear()
    west.upload(ROUND, digest_of(BIG), BIG)
    assert sent == ["HEAD", "PUT", "PUT", "PUT", "PUT"]


def test_an_upload_that_an_older_client_began_in_chunks_ends_in_one_piece(enrolled: Federation) -> None:
    west, data = enrolled.client("west"), b"a small blob"
    where = f"/rounds/{ROUND}/blobs/{digest_of(data)}"
    west._transport.request("PUT", where, params={"offset": 0}, content=data[:3])
    west.upload(ROUND, digest_of(data), data)
    assert west.download(ROUND, digest_of(data)) == data
    older = b"sent in the old way"
    where = f"/rounds/{ROUND}/blobs/{digest_of(older)}"
    west._transport.request("PUT", where, params={"offset": 0}, content=older)
    west._transport.request("POST", f"{where}/complete")
    assert west.download(ROUND, digest_of(older)) == older


def test_bytes_of_another_digest_are_refused(enrolled: Federation) -> None:
    with pytest.raises(RefusedError) as refusal:
        enrolled.client("west").upload(ROUND, digest_of(b"right"), b"wrong")
    assert refusal.value.code is Code.DIGEST_MISMATCH


def test_a_download_goes_on_where_the_cut_was(enrolled: Federation, tmp_path: Path) -> None:
    west = enrolled.client("west")
    digest = digest_of(BIG)
    west.upload(ROUND, digest, BIG)
    partial = tmp_path / f"blob.{digest[:16]}.part"
    partial.write_bytes(BIG[: 1 << 20])
    west.download_to(ROUND, digest, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == BIG
    assert not partial.exists()


def test_ranges_are_served_and_capped(enrolled: Federation) -> None:
    west = enrolled.client("west")
    digest = digest_of(BIG)
    west.upload(ROUND, digest, BIG)
    path = f"/rounds/{ROUND}/blobs/{digest}"
    part = west._transport.request("GET", path, headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, BIG[5:10])
    assert part.headers["Content-Range"] == f"bytes 5-9/{len(BIG)}"
    assert len(west._transport.request("GET", path, headers={"Range": "bytes=0-"}).content) == 1 << 20
    whole = west._transport.request("GET", path)
    assert (whole.status_code, whole.content) == (200, BIG)
    for wrong in (f"bytes={len(BIG)}-", "bytes=9-5", "bytes=-5", "lines=1-2"):
        with pytest.raises(RefusedError) as refusal:
            west._transport.request("GET", path, headers={"Range": wrong})
        assert refusal.value.code is Code.RANGE_INVALID


def test_a_silo_cannot_read_what_another_silo_sent(enrolled: Federation) -> None:
    enrolled.client("west").upload(ROUND, digest_of(b"rows"), b"rows")
    with pytest.raises(RefusedError) as refusal:
        enrolled.client("east").download(ROUND, digest_of(b"rows"))
    assert refusal.value.code is Code.FORBIDDEN
    enrolled.client("hub").upload(ROUND, digest_of(b"sum"), b"sum")
    assert enrolled.client("east").download(ROUND, digest_of(b"sum")) == b"sum"


def test_a_job_reads_and_uploads_in_its_round_and_nothing_else(enrolled: Federation) -> None:
    enrolled.client("west").upload(ROUND, digest_of(b"masked"), b"masked")
    token = KeyCredential(enrolled.hub, Role.JOB, "hub", enrolled.hub.public, round_uid=ROUND)
    job = enrolled.client("hub", credential=token)
    assert job.download(ROUND, digest_of(b"masked")) == b"masked"
    assert len(job.entries(ROUND, 0)) == 4
    job.upload(ROUND, digest_of(b"sum"), b"sum")
    for attempt in (
        lambda: job.entries("another", 0),
        lambda: job.delete_blob(ROUND, digest_of(b"sum")),
        lambda: job.silos(),
        lambda: job.tasks(),
        lambda: job.put_task("west", "t", {}),
        lambda: job.post(enrolled.endorse("west")),
    ):
        with pytest.raises(RefusedError) as refusal:
            attempt()
        assert refusal.value.code is Code.FORBIDDEN


def test_only_the_hub_deletes_and_deleted_is_gone(enrolled: Federation) -> None:
    west, hub = enrolled.client("west"), enrolled.client("hub")
    digest = digest_of(b"masked")
    west.upload(ROUND, digest, b"masked")
    with pytest.raises(RefusedError) as refusal:
        west.delete_blob(ROUND, digest)
    assert refusal.value.code is Code.FORBIDDEN
    hub.delete_blob(ROUND, digest)
    with pytest.raises(BlobGoneError):
        hub.download(ROUND, digest)
    west.upload(ROUND, digest, b"masked")  # a late repeat is no error and brings nothing back
    with pytest.raises(BlobGoneError):
        hub.download(ROUND, digest)


def test_names_from_outside_reach_no_path(enrolled: Federation) -> None:
    west = enrolled.client("west")
    for path in (
        f"/rounds/{ROUND}/blobs/{'a' * 63}",
        f"/rounds/{ROUND}/blobs/{'A' * 64}",
        f"/rounds/..%2f..%2fetc/blobs/{'a' * 64}",
        f"/rounds/.hidden/blobs/{'a' * 64}",
    ):
        with pytest.raises(RefusedError) as refusal:
            west._transport.request("GET", path)
        assert refusal.value.code in (Code.INVALID, Code.NOT_FOUND)


def test_a_full_board_makes_the_sender_wait_and_then_say_so(tmp_path: Path, tls: TlsFiles) -> None:
    federation = Federation(tmp_path, tls, limits=Limits(reserve_bytes=1 << 62, retry_after=0.2))
    federation.start()
    try:
        with pytest.raises(BoardFullError) as full:
            federation.client("hub", deadline=1.0).put_task("west", "t", {})
        assert full.value.retry_after == 0.2
    finally:
        federation.close()
