"""Lays out the directories of a federation on one machine: keys, certificates, grants, site files.

    workdir/
      round.yaml                  the document as it was given
      hub/                        hub key, TLS, board, jobs, status
      silos/<name>/               one hospital: identity, grant, agent, work; mode 0700

Everything is made once; running again keeps what is there, so that an interrupted federation goes on.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from fedgestalt.crypto.keys import Identity, fingerprint
from fedgestalt.files import private_directory, write_atomic

GRANT_DAYS = 30
LOCAL_GRANT = "local"


@dataclass(frozen=True)
class Layout:
    """Where things are in a work directory."""

    root: Path

    @property
    def hub(self) -> Path:
        return self.root / "hub"

    @property
    def hub_key(self) -> Path:
        return self.hub / "key.pem"

    @property
    def tls(self) -> Path:
        return self.hub / "tls"

    @property
    def board(self) -> Path:
        return self.hub / "board"

    @property
    def jobs(self) -> Path:
        return self.hub / "jobs"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def silo(self, name: str) -> Path:
        return self.root / "silos" / name


def load_or_make_identity(path: Path, purpose: str, seed: int | None) -> Identity:
    """The Ed25519 identity in ``path``; made (mode 0600) if absent: at random, or from ``seed`` where a run must repeat.

    The identities are part of the frozen computation, from whose digest the start of the model derives.
    """
    if not path.exists():
        private_directory(path.parent)
        Identity.from_seed(seed_bytes(f"identity {purpose}", seed)).save(path)
    return Identity.load(path)


def seed_bytes(purpose: str, seed: int | None) -> bytes:
    """32 bytes: random, or with ``seed`` the same for the same purpose, so that local runs repeat."""
    if seed is None:
        return secrets.token_bytes(32)
    return hashlib.sha256(f"fedgestalt/local-seed/v1|{seed}|{purpose}".encode()).digest()


def _is_ours(grant: Path) -> bool:
    """Whether this runner wrote a grant; one that cannot be read is somebody's, and the agent will say what is wrong."""
    try:
        return bool(yaml.safe_load(grant.read_text())["metadata"]["name"] == LOCAL_GRANT)
    except (yaml.YAMLError, KeyError, TypeError):
        return False


def make_site(
    layout: Layout,
    name: str,
    *,
    cohort: Path,
    dataset: str,
    hub_key: bytes,
    identities: Mapping[str, bytes],
    exchange_url: str,
    ca_file: Path,
    min_silos: int,
    operation: str,
    purpose: str,
    seed: int | None,
    workload: Sequence[str] | None = None,
) -> Path:
    """Write the site's files and return the path of its ``site.json``.

    The grant fits this round and nothing wider: this hub, this operation and purpose, these peers. On one machine the
    runner stands in for the data stewards; a grant of another name than its own is somebody's decision and stays.
    """
    folder = private_directory(layout.silo(name))
    grant = folder / "grant.yaml"
    if not grant.exists() or _is_ours(grant):
        document = {
            "apiVersion": "fedgestalt.org/v1alpha1",
            "kind": "ParticipationGrant",
            "metadata": {"name": LOCAL_GRANT},
            "spec": {
                "hub": fingerprint(hub_key).hex(),
                "operations": [operation],
                "purposes": [purpose],
                "dataset": dataset,
                "peers": sorted(fingerprint(key).hex() for peer, key in identities.items() if peer != name),
                "minSilos": min_silos,
                "notAfter": (datetime.now(UTC) + timedelta(days=GRANT_DAYS)).isoformat(timespec="seconds"),
                "revoked": False,
            },
        }
        write_atomic(grant, yaml.safe_dump(document, sort_keys=False).encode())
    site_secret = folder / "seed"
    if not site_secret.exists():
        write_atomic(site_secret, seed_bytes(f"site {name}", seed))
    site = folder / "site.json"
    content = {
        "name": name,
        "exchange": {"url": exchange_url, "ca": str(ca_file)},
        "hubKey": hub_key.hex(),
        "identity": "identity.pem",
        "grant": "grant.yaml",
        "datasets": {dataset: str(cohort.resolve())},
        "seed": "seed",
        **({"workload": list(workload)} if workload else {}),
    }
    write_atomic(site, json.dumps(content, indent=2).encode())
    return site
