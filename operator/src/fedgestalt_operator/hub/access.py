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
from ..kube.errors import Conflict
from ..kube.jobs import token_key
from ..kube.port import Cluster

_TOKENS: Final = "token-"
TRIES: Final = 5
"""Other processes of the hub write the Secret as well, for a moment while one takes over from another."""


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
        self._written: dict[str, tuple[str, float]] = {}
        """By round: its token as it was written, and until when it is valid."""

    def ensure(self, round: FederationRound) -> None:
        """Have a token in the Secret that lasts at least half its lifetime: for a Job that is about to be created.

        It looks each time: whoever installs the chart anew empties the Secret, and a pod without its key never starts.

        Raises:
            ClusterError: it is not there, or others went on writing it (`Conflict`); call again.
        """
        with self._lock:
            self._put(round.metadata.uid)

    def renew(self, round: FederationRound) -> None:
        """Have the token of a round whose Job runs outlast it. Called often: it looks once in half a lifetime.

        Raises:
            ClusterError: as `ensure`.
        """
        with self._lock:
            if not self._lasts(round.metadata.uid):
                self._put(round.metadata.uid)

    def _put(self, uid: str) -> None:
        for left in reversed(range(TRIES)):
            stored = self._cluster.get("Secret", self._namespace, self._secret)
            found = stored.get("data", {})
            token, _ = self._written.get(uid, ("", 0.0))
            if self._lasts(uid) and {**found, **self._static, token_key(uid): token} == found:
                return
            try:
                return self._write(uid, stored["metadata"]["resourceVersion"], found)
            except Conflict:
                if not left:
                    raise

    def _lasts(self, uid: str) -> bool:
        return self._written.get(uid, ("", 0.0))[1] - self._now() > self._lifetime / 2

    def _write(self, uid: str, version: str, found: Mapping[str, str]) -> None:
        data = {k: v for k, v in found.items() if k.startswith(_TOKENS)}
        kept = {k: v for k, v in data.items() if _expires(v) > self._now()} | self._static
        token = kept[token_key(uid)] = base64.b64encode(self._mint(uid).encode()).decode()
        # Only over what was read: an overlapping process may have put another round's token there meanwhile.
        metadata = {"name": self._secret, "namespace": self._namespace, "resourceVersion": version}
        self._cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": kept})
        self._written[uid] = (token, self._now() + self._lifetime)

    def forget(self, uid: str) -> None:
        """The round is gone; its token ends by itself."""
        with self._lock:
            self._written.pop(uid, None)


def _expires(encoded: str) -> float:
    """When a token of ours ends (its claim `exp`); one that cannot be read has ended."""
    try:
        payload = base64.b64decode(encoded).decode().split(".")[1]
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (ValueError, KeyError, IndexError, TypeError):
        return 0.0
