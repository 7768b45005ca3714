"""The hub's releases on one machine: what a round builds on, and what is kept when it ends."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedgestalt.exchange.client import BoardClient
from fedgestalt.lineage import ReleaseStore, StoreError, collect
from fedgestalt.lineage.store import COMPUTATION, MANIFEST, PROOF, SEALED
from fedgestalt.secagg.messages import Kind, Message
from fedgestalt_operator.plan.types import BaseRelease

VOCABULARY = "vocabulary.json"


class HubReleases:
    """The hub's release store, between the board and the planner."""

    def __init__(self, folder: Path, client: BoardClient) -> None:
        self._store, self._client = ReleaseStore(folder), client

    def base(self, spec: Mapping[str, Any]) -> BaseRelease | None:
        """The release that a round's spec names; None if it names none or the hub does not have it."""
        named = spec.get("base")
        if named is None:
            return None
        try:
            stored = self._store.get(named["digest"].removeprefix("sha256:"))
        except StoreError:
            return None
        manifest, computation = (json.loads(stored.read(part)) for part in (MANIFEST, COMPUTATION))
        return BaseRelease(stored.digest, manifest, computation)

    def upload(self, round_uid: str, base: BaseRelease) -> list[str]:
        """Give a round's board what newcomers need of its base; digests (hex), the proof's last."""
        stored = self._store.get(base.digest)
        digests = []
        for part in (MANIFEST, COMPUTATION, SEALED, PROOF):
            path = stored.folder / part
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self._client.upload(round_uid, digest, path)
            digests.append(digest)
        return digests

    def has(self, digest: str) -> bool:
        """Whether a release is kept."""
        try:
            self._store.get(digest)
        except StoreError:
            return False
        return True

    def publish(self, round_uid: str, digest: str, messages: Sequence[Message], vocabulary: bytes) -> None:
        """Keep a release beyond its round."""
        manifest = self._client.download(round_uid, digest)
        first = next(m for m in messages if m.slot.kind is Kind.COMPUTATION)
        sealed = json.loads(manifest)["bundle"]["digest"]
        files = {SEALED: self._client.download(round_uid, sealed), VOCABULARY: vocabulary}
        computation = self._client.download(round_uid, first.blobs[0])
        self._store.put(manifest, computation, collect(messages), files=files)
