"""Grants as files: read as an API server would, anew where they change, and none hidden by another one's fault."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedgestalt.silo.grant import GrantFiles, grant_key

PEERS = [format(i, "064x") for i in (1, 2)]


def document(name: str = "local", uid: str = "", **changes: Any) -> dict[str, Any]:
    spec = {
        "hub": "a" * 64,
        "operations": ["Train"],
        "purposes": ["DUO:0000006"],
        "dataset": "faces",
        "peers": PEERS,
        "minSilos": 3,
        "notAfter": "2030-01-01T00:00:00+00:00",
        **changes,
    }
    metadata = {"name": name, **({"uid": uid} if uid else {})}
    head = {"apiVersion": "fedgestalt.org/v1alpha1", "kind": "ParticipationGrant"}
    return {**head, "metadata": metadata, "spec": spec}


def write(path: Path, *documents: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_all_conditions_of_a_grant_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "grant.yaml", document(uses=3, bounds={"activeSeconds": 9}))
    (grant,) = GrantFiles(path).read().usable.values()
    assert (grant.uses, grant.bounds.active_seconds, grant.revoked) == (3, 9, False)


def test_a_missing_grant_says_that_nothing_runs(tmp_path: Path) -> None:
    found = GrantFiles(tmp_path / "absent.yaml").read()
    assert found.usable == {}
    assert "nothing runs at this site" in found.problems[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (yaml.safe_dump({"spec": {}}), "apiVersion, kind"),
        (yaml.safe_dump({**document(), "spec": {"revoked": True}}), "peers"),
        (yaml.safe_dump(document(minSilos=2)), "minSilos"),
        (yaml.safe_dump(document(useless=1)), "useless"),
        ("{", "is not YAML"),
    ],
)
def test_a_grant_that_an_api_server_would_refuse_is_not_used(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "grant.yaml"
    path.write_text(text)
    found = GrantFiles(path).read()
    assert found.usable == {}
    assert "grant.yaml" in found.problems[0]
    assert problem in found.problems[0]


def test_a_folder_holds_grants_and_a_bad_one_hides_no_other(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", document("a"), document("b"))
    write(tmp_path / "c.yaml", document("c"))
    (tmp_path / "bad.yaml").write_text("kind: ParticipationGrant")
    (tmp_path / ".c.yaml.1234").write_text("half")
    found = GrantFiles(tmp_path).read()
    assert sorted(found.usable) == ["name:a", "name:b", "name:c"]
    assert len(found.problems) == 1


def test_two_grants_of_one_name_are_not_used(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", document("a"))
    write(tmp_path / "b.yaml", document("a"), document("b"))
    found = GrantFiles(tmp_path).read()
    assert list(found.usable) == ["name:b"]
    assert "twice" in found.problems[0]


def test_a_change_is_seen_at_the_next_look(tmp_path: Path) -> None:
    path = write(tmp_path / "grant.yaml", document())
    files = GrantFiles(path)
    assert not files.read().usable["name:local"].revoked
    write(path, document(revoked=True))
    assert files.read().usable["name:local"].revoked
    path.unlink()
    assert files.read().usable == {}


def test_a_grant_created_anew_in_a_cluster_is_another_one(tmp_path: Path) -> None:
    path = write(tmp_path / "grant.yaml", document(uid="1"))
    files = GrantFiles(path)
    (first,) = files.read().usable.values()
    write(path, document(uid="22"))
    (second,) = files.read().usable.values()
    assert (grant_key(first), grant_key(second)) == ("uid:1", "uid:22")
