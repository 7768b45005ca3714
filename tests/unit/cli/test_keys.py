import json
import stat
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from fedgestalt.cli.main import main
from fedgestalt.crypto.keys import Identity, fingerprint
from fedgestalt_operator.kube.validate import validate


def keys(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["keys", *map(str, arguments)])


def test_new_makes_a_key_that_only_its_owner_can_read_in_a_folder_of_its_own(tmp_path: Path) -> None:
    done = keys("new", tmp_path / "east")
    path = tmp_path / "east" / "identity.pem"
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    public = Identity.load(path).public
    assert public.hex() in done.output
    assert fingerprint(public).hex() in done.output


def test_new_never_overwrites_a_key_and_says_how_to_see_it(tmp_path: Path) -> None:
    assert keys("new", tmp_path).exit_code == 0
    before = (tmp_path / "identity.pem").read_bytes()
    done = keys("new", tmp_path)
    assert done.exit_code == 1
    assert f"fedgestalt keys show {tmp_path / 'identity.pem'}" in done.output
    assert (tmp_path / "identity.pem").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_no_line_of_the_private_key_is_ever_printed(tmp_path: Path) -> None:
    said = keys("new", tmp_path).output
    said += "".join(keys("show", tmp_path, "--print", what).output for what in ("all", "json"))
    seed = Identity.load(tmp_path / "identity.pem").private_key.private_bytes_raw()
    secret_lines = (tmp_path / "identity.pem").read_text().splitlines()[1:-1]
    assert seed.hex() not in said
    assert not any(line in said for line in secret_lines)


@pytest.mark.parametrize("what", ["public-key", "fingerprint"])
def test_show_prints_one_value_alone_for_scripts(tmp_path: Path, what: str) -> None:
    keys("new", tmp_path)
    public = Identity.load(tmp_path / "identity.pem").public
    values = {"public-key": public.hex(), "fingerprint": fingerprint(public).hex()}
    assert keys("show", tmp_path, "--print", what).output == values[what] + "\n"
    found = json.loads(keys("show", tmp_path / "identity.pem", "--print", "json").output)
    assert found == {"publicKey": values["public-key"], "fingerprint": values["fingerprint"]}


def test_what_show_prints_can_be_pasted_into_a_silo_and_a_grant(tmp_path: Path) -> None:
    keys("new", tmp_path)
    lines = keys("show", tmp_path).output.splitlines()
    identity, peer = (line for line in lines if line.startswith("  - "))
    hub = next(line for line in lines if line.startswith("  hub: "))
    silo = {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "Silo",
        "metadata": {"name": "east"},
        "spec": {"accepted": True, "identities": yaml.safe_load(identity)},
    }
    grant = {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "ParticipationGrant",
        "metadata": {"name": "rare-faces"},
        "spec": {
            **yaml.safe_load(hub),
            "operations": ["Train"],
            "purposes": ["DUO:0000006"],
            "dataset": "synthdysm",
            "minSilos": 3,
            "notAfter": "2030-01-01T00:00:00Z",
            "peers": [*yaml.safe_load(peer), "a" * 64, "b" * 64],
        },
    }
    validate(silo)
    validate(grant)


def test_a_key_that_others_can_read_is_not_shown_and_the_remedy_is_named(tmp_path: Path) -> None:
    keys("new", tmp_path)
    (tmp_path / "identity.pem").chmod(0o644)
    done = keys("show", tmp_path)
    assert done.exit_code == 1
    assert "chmod 600" in done.output


def test_a_folder_without_a_key_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    done = keys("show", tmp_path)
    assert done.exit_code == 1
    assert str(tmp_path / "identity.pem") in done.output
