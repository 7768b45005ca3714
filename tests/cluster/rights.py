"""Which rights an account was granted, and which it used: rules of a chart beside the API server's audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .api_server import ApiServer
from .control_plane import AUDIT_LOG

Right = tuple[str, str]
"""(verb, resource or resource/subresource)."""


def granted(rules: Path) -> set[Right]:
    """All rights of a rules file."""
    return {
        (verb, what)
        for rule in yaml.safe_load(rules.read_text())
        for what in rule["resources"]
        for verb in rule["verbs"]
    }


def used(server: ApiServer, namespace: str, account: str) -> set[Right]:
    """What the account asked for and was allowed, in its namespace."""
    return {right(e) for e in _asked(server, namespace, account) if _allowed(e)}


def refused(server: ApiServer, namespace: str, account: str) -> set[Right]:
    """What the account asked for and was refused."""
    return {right(e) for e in _asked(server, namespace, account) if not _allowed(e)}


def right(event: dict[str, Any]) -> Right:
    """The right that a request needs."""
    reference = event["objectRef"]
    subresource = f"/{reference['subresource']}" if reference.get("subresource") else ""
    return event["verb"], reference["resource"] + subresource


def _asked(server: ApiServer, namespace: str, account: str) -> Iterator[dict[str, Any]]:
    user = f"system:serviceaccount:{namespace}:{account}"
    for line in (server.folder / AUDIT_LOG).read_text().splitlines():
        event = json.loads(line)
        if event["user"]["username"] == user and "objectRef" in event:
            yield event


def _allowed(event: dict[str, Any]) -> bool:
    return bool(event.get("annotations", {}).get("authorization.k8s.io/decision") == "allow")
