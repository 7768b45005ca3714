"""Start-up check: does the cluster serve the CRDs that this operator was built with?

Helm never upgrades a chart's `crds/` folder, and an API server drops fields that its schema does not know. An
operator on older CRDs would lose what it writes and read bounds that nobody set, so it says what is missing and
does not start. The served schemas come from the OpenAPI v3 document, which every authenticated user may read;
the CRDs themselves would need a ClusterRole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from ..api import GROUP, VERSION
from .crds import load_crds, schema_of
from .errors import ClusterError, NotServed
from .structural import Schema, join

OPENAPI: Final = f"/openapi/v3/apis/{GROUP}/{VERSION}"
HUB_KINDS: Final = ("FederationRound", "Silo", "SiloTask", "Release")
SITE_KINDS: Final = ("SiloTask", "Release", "ParticipationGrant", "InferenceEndpoint")
# The server replaces these schemas of a CRD by its own.
_SERVERS_OWN: Final = ("apiVersion", "kind", "metadata")
_SHOWN: Final = 40


class CrdsOutdatedError(ClusterError):
    """The cluster serves CRDs that lack what this operator needs. `missing` lists all of it."""

    def __init__(self, missing: Sequence[str]) -> None:
        shown = [*missing[:_SHOWN], *([f"and {len(missing) - _SHOWN} more"] if len(missing) > _SHOWN else [])]
        super().__init__(
            "the cluster's CRDs are not those of this operator; upgrade them, then restart it:\n"
            "    kubectl apply --server-side --force-conflicts -f crds/\n"
            "(crds/ of the operator's release, or `helm upgrade` of the chart fedgestalt-crds). Missing:\n"
            + "\n".join(f"  - {line}" for line in shown)
        )
        self.missing = tuple(missing)


class Documents(Protocol):
    """What gives JSON documents by their path on the API server: `ApiServerCluster`."""

    def document(self, path: str) -> dict[str, Any]:
        """The document. Raises ClusterError."""
        ...


def check_served(cluster: Documents, kinds: Collection[str] = ()) -> None:
    """Compare what is served with the CRD files of this operator.

    A new CRD shows in the OpenAPI document a second or two after it was applied.

    Args:
        cluster: the API server.
        kinds: those that are needed; all of ours if empty.

    Raises:
        CrdsOutdatedError: a kind, version, field, enum value or rule is missing.
        ClusterError: the API server gives no answer.
    """
    try:
        openapi = cluster.document(OPENAPI)
    except NotServed:
        openapi = {}
    missing = missing_of(openapi, kinds)
    if missing:
        raise CrdsOutdatedError(missing)


def missing_of(openapi: Mapping[str, Any], kinds: Collection[str] = ()) -> list[str]:
    """What the CRD files have and the served schemas lack, one line each, sorted.

    What is served beyond the files is no fault: newer CRDs may serve an older operator.

    Args:
        openapi: the OpenAPI v3 document of the group and version; empty if there is none.
        kinds: those that are needed; all of ours if empty.
    """
    served = dict(_by_kind(openapi))
    found: list[str] = []
    for kind in sorted(kinds or load_crds()):
        if kind not in served:
            found.append(f"{kind}: {GROUP}/{VERSION} of it is not served")
        else:
            found.extend(f"{kind}: {line}" for line in sorted(_missing(schema_of(kind), served[kind], "")))
    return found


def _by_kind(openapi: Mapping[str, Any]) -> Iterator[tuple[str, Schema]]:
    for schema in openapi.get("components", {}).get("schemas", {}).values():
        for served in schema.get("x-kubernetes-group-version-kind", ()):
            if (served.get("group"), served.get("version")) == (GROUP, VERSION):
                yield served["kind"], schema


def _missing(needed: Schema, served: Schema, path: str) -> Iterator[str]:
    if served.get("x-kubernetes-preserve-unknown-fields"):
        return
    fields: Mapping[str, Schema] = served.get("properties", {})
    for name, child in needed.get("properties", {}).items():
        if not path and name in _SERVERS_OWN:
            continue
        if name not in fields:
            yield f"field {join(path, name)}"
        else:
            yield from _missing(child, fields[name], join(path, name))
    for key, step, name in (("items", "[]", "entries"), ("additionalProperties", "{}", "values")):
        inner, other = needed.get(key), served.get(key)
        if isinstance(inner, dict) and isinstance(other, dict):
            yield from _missing(inner, other, path + step)
        elif inner and not other:
            yield f"{name} of {path}"
    yield from _missing_values(needed, served, path)


def _missing_values(needed: Schema, served: Schema, path: str) -> Iterator[str]:
    place = f" of {path}" if path else ""
    if "enum" in served:
        for value in needed.get("enum", ()):
            if value not in served["enum"]:
                yield f"value {value!r}{place}"
    rules = {rule["rule"] for rule in served.get("x-kubernetes-validations", ())}
    for rule in needed.get("x-kubernetes-validations", ()):
        if rule["rule"] not in rules:
            yield (
                f"rule{place} that {rule['message']}" if "message" in rule else f"rule{place}: {rule['rule']}"
            )
