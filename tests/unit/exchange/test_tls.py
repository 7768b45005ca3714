"""Certificates of a private authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedgestalt.exchange.errors import ExchangeError
from fedgestalt.exchange.tls import make_tls


def test_what_is_there_is_kept_and_the_server_certificate_renewed_before_its_end(tmp_path: Path) -> None:
    files = make_tls(tmp_path, ["localhost"])
    first, authority = files.certificate.read_bytes(), files.ca.read_bytes()
    make_tls(tmp_path, ["localhost"])
    assert files.certificate.read_bytes() == first
    make_tls(tmp_path, ["localhost"], now=datetime.now(UTC) + timedelta(days=85))
    assert files.certificate.read_bytes() != first
    assert files.ca.read_bytes() == authority


def test_another_host_needs_another_certificate(tmp_path: Path) -> None:
    files = make_tls(tmp_path, ["localhost"])
    first = files.certificate.read_bytes()
    make_tls(tmp_path, ["localhost", "10.0.0.7"])
    assert files.certificate.read_bytes() != first


def test_keys_are_private(tmp_path: Path) -> None:
    files = make_tls(tmp_path / "tls", ["localhost"])
    for path in (files.key, files.ca_key):
        assert path.stat().st_mode & 0o077 == 0


def test_half_an_authority_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    files = make_tls(tmp_path, ["localhost"])
    files.ca.unlink()
    with pytest.raises(ExchangeError, match="Restore"):
        make_tls(tmp_path, ["example.org"])
