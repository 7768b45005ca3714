"""kopf without what this operator does itself."""

from __future__ import annotations

import kopf


def quiet_settings() -> kopf.OperatorSettings:
    """No posting of events, no scanning of the cluster, watches that end by themselves."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    # A watch that hangs silently is kopf's best-known trouble in the field: let each end by itself, and look anew.
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.networking.trust_env = True  # hubs and sites may reach their API server through a proxy
    return settings
