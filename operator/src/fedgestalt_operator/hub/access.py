"""The Secret through which Jobs reach the exchange: a short-lived token for each round that has Jobs.

One Secret that the chart made, so that the operator needs rights on that name alone.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..api.round import FederationRound
from ..kube.jobs import token_key
from ..kube.port import Cluster

_TOKENS: Final = "token-"


class JobAccess:
    """Keeps the Secret's tokens fresh. Safe for threads."""

    def __init__(
        self,
        cluster: Cluster,
        mint: Callable[[str], str],
        static: Mapping[str, bytes],
        *,
        namespace: str,
        secret: str,
        lifetime: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            mint: makes a token for a round's uid, valid for `lifetime` seconds.
            static: what stands beside the tokens: `url`, `hub-key`, `ca.crt`.
            secret: name of the Secret, which exists.
        """
        self._cluster, self._mint, self._namespace, self._secret = cluster, mint, namespace, secret
        self._static = {key: base64.b64encode(value).decode() for key, value in static.items()}
        self._lifetime, self._now = lifetime, now
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def ensure(self, round: FederationRound) -> None:
        """Have a token in the Secret that lasts at least half its lifetime."""
        uid = round.metadata.uid
        with self._lock:
            if self._until.get(uid, 0.0) - self._now() > self._lifetime / 2:
                return
            stored = self._cluster.get("Secret", self._namespace, self._secret)
            data = {k: v for k, v in stored.get("data", {}).items() if k.startswith(_TOKENS)}
            kept = {k: v for k, v in data.items() if _expires(v) > self._now()} | self._static
            kept[token_key(uid)] = base64.b64encode(self._mint(uid).encode()).decode()
            metadata = {"name": self._secret, "namespace": self._namespace}
            self._cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": kept})
            self._until[uid] = self._now() + self._lifetime

    def forget(self, uid: str) -> None:
        """The round is gone; its token ends by itself."""
        with self._lock:
            self._until.pop(uid, None)


def _expires(encoded: str) -> float:
    """When a token of ours ends (its claim `exp`); one that cannot be read has ended."""
    try:
        payload = base64.b64decode(encoded).decode().split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, IndexError, TypeError):
        return 0.0
