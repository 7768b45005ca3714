"""The same credentials for kopf's watches as for the cluster port."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import kopf
from kubernetes.client import Configuration

_AGAIN: Final = timedelta(minutes=10)
"""A pod's token is rotated on disk long before it ends: read it anew now and then."""


def login_with(registry: kopf.OperatorRegistry, load: Callable[[], Configuration]) -> None:
    """Let a registry's watches log in with what `load` (see `kube.connection.load_configuration`) reads."""

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection_info(load())


def connection_info(configuration: Configuration) -> kopf.ConnectionInfo:
    """kopf's form of the official client's configuration."""
    # The client's releases do not agree on the key's name; its own settings for the header do not care.
    settings = cast(Mapping[str, Mapping[str, Any]], configuration.auth_settings())
    headers = (s["value"] for s in settings.values() if s["in"] == "header" and s["key"] == "authorization")
    scheme, _, token = (next(headers, None) or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
        expiration=datetime.now(UTC) + _AGAIN,
        trust_env=True,
    )
