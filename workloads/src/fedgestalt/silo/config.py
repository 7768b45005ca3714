"""What a site's agent is told: its name, its exchange, its keys, its data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedgestalt_operator.plan.handover import GRANTS


class SiteConfigError(Exception):
    """The site's configuration file is unusable; the message names the file, the field and the mend."""


@dataclass(frozen=True)
class SiteConfig:
    """The content of ``site.json``; relative paths count from its folder."""

    name: str
    directory: Path
    exchange_url: str
    ca_file: Path
    hub_key: bytes
    """The hub's Ed25519 public key, 32 bytes: pinned by the site's IT when the silo is registered."""
    identity_file: Path
    grant_file: Path
    """A YAML file of ParticipationGrants, or a folder of such files."""
    datasets: Mapping[str, Path]
    """Contract name of a dataset -> folder of the cohort at this site."""
    seed_file: Path
    """The site secret that local training seeds derive from, 32 bytes."""
    workload: tuple[str, ...] = ("python", "-m", "fedgestalt.training.entry")
    """The command that ``train --task FILE`` and ``encode --task FILE`` are appended to."""
    handover: Path | None = None
    """The folder shared with the operator's site role, from which tasks come; None: they come from the exchange."""

    @property
    def work(self) -> Path:
        """Where trainer and caches live."""
        return self.directory / "work"

    @property
    def releases(self) -> Path:
        """The releases that this hospital took part in or adopted."""
        return self.directory / "releases"

    @property
    def withdrawn(self) -> Path:
        """The photos that are not used any more, see :mod:`fedgestalt.silo.withdrawal`."""
        return self.directory / "withdrawn.json"

    @property
    def state(self) -> Path:
        """Where the agent's durable state lives."""
        return self.directory / "agent"


def load_site_config(path: Path) -> SiteConfig:
    """Read ``site.json``.

    Raises:
        SiteConfigError: the file is absent, no JSON, or lacks a field.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise SiteConfigError(
            f"{path}: {error.strerror}. Give the folder of a site that was set up."
        ) from error
    except ValueError as error:
        raise SiteConfigError(f"{path}: not JSON ({error}).") from error
    root = path.parent

    def at(value: str) -> Path:
        return (root / value).resolve()

    try:
        handover = document.get("handover")
        grants = f"{handover}/{GRANTS}"
        return SiteConfig(
            name=document["name"],
            directory=root.resolve(),
            exchange_url=document["exchange"]["url"],
            ca_file=at(document["exchange"]["ca"]),
            hub_key=bytes.fromhex(document["hubKey"]),
            identity_file=at(document["identity"]),
            grant_file=at(document["grant"] if handover is None else document.get("grant", grants)),
            datasets={name: at(folder) for name, folder in document["datasets"].items()},
            seed_file=at(document["seed"]),
            **({"workload": tuple(document["workload"])} if "workload" in document else {}),
            handover=None if handover is None else at(handover),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SiteConfigError(f"{path}: field {error} is missing or malformed.") from error
