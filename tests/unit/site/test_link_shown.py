"""A hub that cannot be reached shows in `kubectl get silotask` at the site, and stays the site's own affair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedgestalt_operator.api.reasons import LinkReason
from fedgestalt_operator.plan.handover import report_of
from fedgestalt_operator.site.state import SHOWN_AFTER, LinkState

from .test_reconcile import Site

UP, LOST = LinkReason.CONNECTED, LinkReason.LINK_LOST


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.grant()
    made.task("fg-1", "Train")
    made.say("fg-1", phase="Running", fraction=0.5)
    return made


def shown(site: Site, name: str = "fg-1") -> dict[str, Any]:
    site.site.reconcile()
    (condition,) = site.status(name)["conditions"]
    return {k: condition[k] for k in ("type", "status", "reason", "message", "lastTransitionTime")}


def change(site: Site, reason: LinkReason, message: str = "") -> None:
    site.site.link_changed(LinkState(reason, site.time, message))


def test_an_open_task_says_since_when_the_hub_cannot_be_reached_and_what_the_line_said(site: Site) -> None:
    change(site, UP)
    assert shown(site)["reason"] == "Connected"
    site.time += 3600
    change(site, LOST, "https://hub:443: no answer in time")
    site.time += SHOWN_AFTER
    assert shown(site) == {
        "type": "Connected",
        "status": "False",
        "reason": "LinkLost",
        "message": "hub not reachable since 2027-01-15T09:00:00Z: https://hub:443: no answer in time",
        "lastTransitionTime": "2027-01-15T09:00:00Z",
    }
    change(site, UP)
    assert shown(site)["status"] == "True"
    assert shown(site)["message"] == ""


def test_one_request_that_failed_is_no_write_and_a_look_is_due_when_it_would_be(site: Site) -> None:
    change(site, UP)
    shown(site)
    writes: list[object] = []
    site.site._on_status = lambda *told: writes.append(told)
    change(site, LOST)
    site.time += SHOWN_AFTER - 1
    assert site.site.reconcile().next_look == site.time + 1
    change(site, UP)
    site.time += 100
    site.site.reconcile()
    assert writes == []


def test_a_restart_in_the_middle_of_an_outage_keeps_its_beginning(site: Site) -> None:
    change(site, LOST)
    site.time += SHOWN_AFTER
    before = shown(site)["lastTransitionTime"]
    site.restart()
    site.time += 5
    change(site, LOST, "the exchange was not asked yet")
    assert shown(site)["lastTransitionTime"] == before
    site.time += SHOWN_AFTER
    assert shown(site)["lastTransitionTime"] == before
    assert before in shown(site)["message"]


def test_a_task_that_is_over_shows_no_link_and_the_hub_is_never_told(site: Site) -> None:
    change(site, LOST, "proxy.hospital.example refuses")
    site.time += SHOWN_AFTER
    shown(site)
    assert "proxy" not in str(report_of(site.status("fg-1")))
    site.say("fg-1", phase="Succeeded", fraction=1.0)
    site.site.reconcile()
    assert "conditions" not in site.status("fg-1")


@pytest.mark.parametrize("reason", [r for r in LinkReason if r is not UP])
def test_every_way_of_being_down_has_words(site: Site, reason: LinkReason) -> None:
    change(site, reason, "said")
    site.time += SHOWN_AFTER
    assert (shown(site)["reason"], shown(site)["message"].endswith(": said")) == (reason.value, True)
