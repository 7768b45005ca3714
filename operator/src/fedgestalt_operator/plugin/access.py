"""The cluster that the commands talk to, chosen as kubectl chooses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..kube.port import Cluster


@dataclass(frozen=True)
class Access:
    """A cluster, the namespace asked for, the JSON document at any path of its API server, and the time."""

    cluster: Cluster
    namespace: str
    document: Callable[[str], Mapping[str, Any]]
    now: Callable[[], float] = time.time


Opener = Callable[[Path | None, str | None, str | None], Access]
"""kubeconfig, context and namespace as given on the command line, each None for kubectl's own choice."""


def open_access(kubeconfig: Path | None, context: str | None, namespace: str | None) -> Access:
    """Read the kubeconfig. Nothing is sent yet.

    Raises:
        ValueError: there is none, or it lacks the context.
        ModuleNotFoundError: the package `kubernetes` is not installed (extra `operator`).
    """
    from ..kube.api_server import ApiServerCluster  # `--help` needs no cluster

    cluster = ApiServerCluster(kubeconfig, context=context, connections=2)
    return Access(cluster, namespace or _namespace(kubeconfig, context), cluster.document)


def _namespace(kubeconfig: Path | None, context: str | None) -> str:
    """The context's namespace, else `default`: what kubectl does without -n."""
    from kubernetes import config

    try:
        file = None if kubeconfig is None else str(kubeconfig)
        contexts, active = config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError):  # in a pod there is no kubeconfig
        return "default"
    chosen = next((c for c in contexts if c["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")
