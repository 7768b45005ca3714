"""A site whose exchange is not there, for tests that tell its agent what it hears."""

import json
from pathlib import Path

from fedgestalt.silo.config import SiteConfig, load_site_config


def west(folder: Path, hub_key: bytes = bytes(32)) -> SiteConfig:
    """The site in ``folder``, which pins this key of the hub."""
    content = {
        "name": "west",
        "exchange": {"url": "https://127.0.0.1:9", "ca": "ca.pem"},
        "hubKey": hub_key.hex(),
        "identity": "identity.pem",
        "grant": "grant.yaml",
        "datasets": {},
        "seed": "seed",
    }
    (folder / "site.json").write_text(json.dumps(content))
    return load_site_config(folder / "site.json")
