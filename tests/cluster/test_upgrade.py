"""An operator on older CRDs says what they lack and which command mends it; after the command it starts."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fedgestalt_operator.kube.api_server import ApiServerCluster
from fedgestalt_operator.kube.crds import crd_folder, load_crds
from fedgestalt_operator.kube.served import HUB_KINDS, CrdsOutdatedError, check_served

OPERATOR = "system:serviceaccount:default:operator"
NS = "default"


def older_crds() -> list[dict[str, Any]]:
    """CRDs of an imagined release before this one: no Release yet, and less in Silo and SiloTask."""
    crds = copy.deepcopy(load_crds())
    del crds["Release"]

    def schema(kind: str, *path: str) -> dict[str, Any]:
        found = crds[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for step in path:
            found = found["properties"][step]
        return found

    del schema("Silo", "status")["properties"]["tasks"]
    schema("SiloTask", "spec", "kind")["enum"].remove("Encode")
    del schema("SiloTask", "spec")["x-kubernetes-validations"]
    return list(crds.values())


def silo() -> dict[str, Any]:
    return {
        "apiVersion": "fedgestalt.org/v1alpha1",
        "kind": "Silo",
        "metadata": {"name": "west", "namespace": NS},
        "spec": {"identities": [{"key": "a" * 64, "notAfter": "2027-01-31T00:00:00Z"}]},
    }


def upgraded(operator: ApiServerCluster) -> bool:
    try:
        check_served(operator)
    except CrdsOutdatedError:
        return False
    return True


def test_operator_on_older_crds_names_what_they_lack_until_they_are_upgraded(
    start_server, kube_assets, until, tmp_path
):
    """Lesson 10: helm skips CRDs at an upgrade. The operator says what it lacks, and serves once it is there."""
    server = start_server("upgrade", crds=False)
    # No role at all: every authenticated user may read the schemas.
    operator = ApiServerCluster(server.kubeconfig(OPERATOR))
    admin = ApiServerCluster(server.kubeconfig())

    with pytest.raises(CrdsOutdatedError) as caught:
        check_served(operator, HUB_KINDS)
    assert len(caught.value.missing) == len(HUB_KINDS)

    server.install_crds(older_crds())
    admin.create(silo())
    expected = (
        "Release: fedgestalt.org/v1alpha1 of it is not served",
        "Silo: field status.tasks",
        "SiloTask: rule of spec that a task is immutable; the hub makes another one for another attempt",
        "SiloTask: value 'Encode' of spec.kind",
    )
    until(lambda: _missing(operator) == expected, "the older CRDs lack four things")
    with pytest.raises(ValueError, match="tasks"):
        admin.patch_status("Silo", NS, "west", {"tasks": 1})

    with pytest.raises(CrdsOutdatedError) as caught:
        check_served(operator)
    command = next(line for line in str(caught.value).splitlines() if "kubectl" in line).split()
    _run(command, kube_assets / "kubectl", server.kubeconfig(), tmp_path)
    until(lambda: upgraded(operator), "the upgraded CRDs have all that is needed")
    until(lambda: _writes_tasks(admin), "a silo made before the upgrade takes the new field")


def _missing(operator: ApiServerCluster) -> tuple[str, ...]:
    try:
        check_served(operator)
    except CrdsOutdatedError as error:
        return error.missing
    return ()


def _run(command: list[str], kubectl: Path, kubeconfig: Path, folder: Path) -> None:
    """The command of the error, word for word, where an administrator would run it."""
    (folder / "crds").mkdir()
    for file in crd_folder().glob("*.yaml"):
        shutil.copy(file, folder / "crds")
    assert command[0] == "kubectl"
    environment = {"KUBECONFIG": str(kubeconfig), "HOME": str(folder)}
    subprocess.run([kubectl, *command[1:]], cwd=folder, env=environment, check=True, timeout=60)


def _writes_tasks(admin: ApiServerCluster) -> bool:
    try:
        return admin.patch_status("Silo", NS, "west", {"tasks": 1})["status"] == {"tasks": 1}
    except ValueError:
        return False
