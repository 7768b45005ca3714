"""Which rounds there are, by uid: news of the exchange name uids, the cluster names names."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..api.round import KIND
from .queue import Key


class RoundIndex:
    """Keys of the FederationRounds that live, learned from the cluster's events. Safe for threads.

    Bodies are not kept: a thousand rounds cost some hundred kilobytes here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}
        self._phases: dict[str, str] = {}
        self._gone: dict[Key, set[str]] = {}

    def learn(self, document: Mapping[str, Any]) -> Key:
        """A round is there, or changed."""
        metadata = document["metadata"]
        key = (document["kind"], metadata.get("namespace", ""), metadata["name"])
        with self._lock:
            self._keys[metadata["uid"]] = key
            self._phases[metadata["uid"]] = document.get("status", {}).get("phase", "Pending")
        return key

    def forget(self, uid: str) -> Key | None:
        """A round is gone; the key under which what is left of it must be cleared, once."""
        with self._lock:
            key = self._keys.pop(uid, None)
            self._phases.pop(uid, None)
            if key is not None:
                self._gone.setdefault(key, set()).add(uid)
            return key

    def orphan(self, namespace: str, uid: str) -> Key | None:
        """A round that the exchange has and the cluster has not; the key under which it is to be cleared.

        None: it is about to be cleared already. The key's name is the uid, for that is all that is known of it.
        """
        with self._lock:
            if uid in self._keys or any(uid in uids for uids in self._gone.values()):
                return None
            key = (KIND, namespace, uid)
            self._gone.setdefault(key, set()).add(uid)
            return key

    def take_gone(self, key: Key) -> set[str]:
        """Uids of rounds that had this key and are gone, to be cleared now."""
        with self._lock:
            return self._gone.pop(key, set())

    def give_back(self, key: Key, uid: str) -> None:
        """What was taken to be cleared could not be cleared yet."""
        with self._lock:
            self._gone.setdefault(key, set()).add(uid)

    def uids(self) -> set[str]:
        """Rounds that live, as far as is known."""
        with self._lock:
            return set(self._keys)

    def key(self, uid: str) -> Key | None:
        """The key of a round that lives."""
        with self._lock:
            return self._keys.get(uid)

    def all(self, phase: str | None = None) -> list[Key]:
        """All keys, or those of rounds in one phase."""
        with self._lock:
            return [key for uid, key in self._keys.items() if phase is None or self._phases[uid] == phase]

    def phases(self) -> Counter[str]:
        """How many rounds are in each phase."""
        with self._lock:
            return Counter(self._phases.values())
