"""The start-up check names everything that the served CRDs lack, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fedgestalt_operator.kube.crds import load_crds, schema_of
from fedgestalt_operator.kube.errors import ClusterUnavailable, NotServed
from fedgestalt_operator.kube.served import (
    HUB_KINDS,
    OPENAPI,
    SITE_KINDS,
    CrdsOutdatedError,
    check_served,
    missing_of,
)


@pytest.fixture
def openapi() -> dict[str, Any]:
    """As an API server publishes it: its own metadata schema, a list kind beside each kind."""
    schemas: dict[str, Any] = {"io.k8s.ObjectMeta": {"type": "object"}}
    for kind in load_crds():
        schema = copy.deepcopy(schema_of(kind))
        schema["properties"]["metadata"] = {"allOf": [{"$ref": "#/components/schemas/io.k8s.ObjectMeta"}]}
        for suffix, body in (("", schema), ("List", {"type": "object"})):
            gvk = {"group": "fedgestalt.org", "version": "v1alpha1", "kind": kind + suffix}
            schemas[f"org.fedgestalt.v1alpha1.{kind}{suffix}"] = body | {
                "x-kubernetes-group-version-kind": [gvk]
            }
    return {"components": {"schemas": schemas}}


def schema(openapi: dict[str, Any], kind: str, *path: str) -> dict[str, Any]:
    found = openapi["components"]["schemas"][f"org.fedgestalt.v1alpha1.{kind}"]
    for step in path:
        found = found["items"] if step == "[]" else found["properties"][step]
    return found


def test_our_own_crds_lack_nothing(openapi):
    assert missing_of(openapi) == []


def test_missing_field_is_named_by_its_path_and_what_is_below_it_is_not(openapi):
    del schema(openapi, "FederationRound", "spec")["properties"]["quorum"]
    del schema(openapi, "Silo", "spec", "identities", "[]")["properties"]["notAfter"]
    missing = missing_of(openapi)
    assert "FederationRound: field spec.quorum" in missing
    assert "Silo: field spec.identities[].notAfter" in missing
    assert not any("spec.quorum." in line for line in missing)


def test_missing_enum_value_is_named(openapi):
    schema(openapi, "SiloTask", "spec", "kind")["enum"].remove("Encode")
    assert missing_of(openapi) == ["SiloTask: value 'Encode' of spec.kind"]


def test_missing_rule_is_named_by_its_message(openapi):
    del schema(openapi, "SiloTask", "spec")["x-kubernetes-validations"]
    (line,) = missing_of(openapi)
    assert line.startswith("SiloTask: rule of spec that a task is immutable")


def test_missing_kind_is_named(openapi):
    del openapi["components"]["schemas"]["org.fedgestalt.v1alpha1.Release"]
    assert missing_of(openapi) == ["Release: fedgestalt.org/v1alpha1 of it is not served"]


def test_kind_of_another_version_does_not_count(openapi):
    schema(openapi, "Release")["x-kubernetes-group-version-kind"][0]["version"] = "v1"
    assert missing_of(openapi) == ["Release: fedgestalt.org/v1alpha1 of it is not served"]


def test_field_of_a_map_of_any_keys_is_compared(openapi):
    del schema(openapi, "SiloTask", "spec", "parameters")["additionalProperties"]
    assert missing_of(openapi) == ["SiloTask: values of spec.parameters"]


def test_schema_that_keeps_unknown_fields_lacks_none(openapi):
    spec = schema(openapi, "Silo")["properties"]
    spec["status"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert missing_of(openapi) == []


def test_newer_crds_serve_an_older_operator(openapi):
    schema(openapi, "Silo", "spec")["properties"]["invented"] = {"type": "string"}
    schema(openapi, "SiloTask", "spec", "kind")["enum"].append("Invented")
    assert missing_of(openapi) == []


def test_only_the_kinds_that_a_role_needs_are_compared(openapi):
    del openapi["components"]["schemas"]["org.fedgestalt.v1alpha1.ParticipationGrant"]
    assert missing_of(openapi, HUB_KINDS) == []
    assert len(missing_of(openapi, SITE_KINDS)) == 1


def test_roles_need_kinds_that_there_are():
    assert {*HUB_KINDS, *SITE_KINDS} == set(load_crds())


class Server:
    """An API server's documents."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer

    def document(self, path: str) -> dict[str, Any]:
        assert path == OPENAPI
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_error_lists_all_that_is_missing_and_the_command_that_mends_it(openapi):
    del schema(openapi, "Silo", "status")["properties"]["version"]
    del openapi["components"]["schemas"]["org.fedgestalt.v1alpha1.Release"]
    with pytest.raises(CrdsOutdatedError) as caught:
        check_served(Server(openapi))
    text = str(caught.value)
    assert "kubectl apply --server-side --force-conflicts -f crds/" in text
    assert "  - Silo: field status.version" in text
    assert "  - Release: fedgestalt.org/v1alpha1 of it is not served" in text
    assert len(caught.value.missing) == 2


def test_without_any_crd_every_needed_kind_is_missing():
    with pytest.raises(CrdsOutdatedError) as caught:
        check_served(Server(NotServed("no such group")), HUB_KINDS)
    assert len(caught.value.missing) == len(HUB_KINDS)


def test_no_answer_is_not_taken_for_missing_crds():
    with pytest.raises(ClusterUnavailable):
        check_served(Server(ClusterUnavailable("down")))


def test_served_crds_pass(openapi):
    check_served(Server(openapi))
