"""A Release at a site has a status of its own: who signed it, and whether it holds on this hospital's disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedgestalt.files import write_atomic
from fedgestalt_operator.kube.crds import crd_folder
from fedgestalt_operator.kube.documents import read_documents
from fedgestalt_operator.site.mirror import hub_label
from fedgestalt_operator.site.reconcile import SiteReconciler

from .test_reconcile import SPACE, Site

NAME = "gm-2026-09"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def give(site: Site, **labels: str) -> str:
    """Mirror a Release into the site; its digest."""
    (document,) = read_documents(crd_folder() / "examples" / "valid" / "release-train.yaml")
    document["metadata"] = {"name": NAME, "namespace": SPACE, "labels": labels or hub_label("a" * 64)}
    site.cluster.create(document)
    return str(document["spec"]["digest"])


def check(site: Site, digest: str, reason: str, message: str = "") -> None:
    found = {"releases": {digest: {"reason": reason, "message": message}}}
    write_atomic(site.folder / "releases.json", json.dumps(found).encode())


def shown(site: Site) -> tuple[str, str]:
    site.site.reconcile()
    (condition,) = site.status(NAME, "Release")["conditions"]
    assert condition["type"] == "Verified"
    return condition["status"], condition["reason"]


def test_who_signed_it_is_shown_and_that_nobody_knows_yet_whether_it_is_here(site: Site) -> None:
    give(site)
    assert shown(site) == ("Unknown", "ReleaseMissing")
    assert site.status(NAME, "Release")["summary"] == {"signed": "3/4"}


@pytest.mark.parametrize(
    ("reason", "status"),
    [("SignaturesValid", "True"), ("ProofInvalid", "False"), ("BundleMismatch", "False")],
)
def test_what_the_agent_found_on_its_disk_is_shown(site: Site, reason: str, status: str) -> None:
    check(site, give(site), reason, "said")
    assert shown(site) == (status, reason)


def test_one_that_lies_elsewhere_only_is_missing_here(site: Site) -> None:
    give(site)
    check(site, "sha256:" + "9" * 64, "SignaturesValid")
    assert shown(site) == ("False", "ReleaseMissing")


def test_what_no_hub_gave_is_left_alone(site: Site) -> None:
    give(site, team="clinic")
    site.site.reconcile()
    assert site.status(NAME, "Release") == {}


def test_a_status_that_stands_is_not_written_again(site: Site) -> None:
    check(site, give(site), "SignaturesValid")
    shown(site)
    written: list[Any] = []
    site.site = SiteReconciler(
        site.cluster,
        site.site._folder,
        namespace=SPACE,
        now=lambda: site.time + 900,
        on_status=lambda *told: written.append(told),
    )
    site.site.reconcile()
    assert written == []
