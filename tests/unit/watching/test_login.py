"""kopf's watches log in as the cluster port does."""

from __future__ import annotations

from pathlib import Path

import yaml

from fedgestalt_operator.kube.connection import load_configuration
from fedgestalt_operator.watching.login import connection_info


def kubeconfig(path: Path, **user: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": "https://api.example:6443", "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_token_and_the_server_are_taken_over(tmp_path: Path) -> None:
    info = connection_info(load_configuration(kubeconfig(tmp_path / "config", token="secret-token")))
    assert (info.server, info.scheme, info.token) == ("https://api.example:6443", "Bearer", "secret-token")
    assert info.expiration is not None


def test_a_user_without_credentials_has_no_token(tmp_path: Path) -> None:
    info = connection_info(load_configuration(kubeconfig(tmp_path / "config")))
    assert (info.server, info.scheme, info.token) == ("https://api.example:6443", None, None)
