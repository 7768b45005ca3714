"""Checks of what a release takes over from the one before it."""

from __future__ import annotations

from fedgestalt.lineage.case import Case
from fedgestalt.lineage.findings import Finding, listed
from fedgestalt.lineage.manifest import Manifest


def check_parent(case: Case) -> None:
    """The parent is the computation's base; what Adopt and Rotate take over is what it states."""
    manifest, base = case.manifest, case.base
    wanted = case.document["spec"].get("base")
    named = [] if base is None else [base.digest]
    asked = [str(wanted.get("digest")).removeprefix("sha256:")] if isinstance(wanted, dict) else []
    case.found.require(
        list(manifest.parents) == named == asked,
        Finding.PARENT_MISMATCH,
        f"the manifest's parents are {listed(manifest.parents)}, the computation's base {listed(named)}, "
        f"the one that was asked for {listed(asked)}",
    )
    if case.trained:
        return  # nothing of the manifest is taken over
    if not manifest.parents:
        case.found.add(
            Finding.PARENT_MISMATCH, f"operation {manifest.operation} needs a parent, the manifest names none"
        )
    elif case.parent is None:
        taken = "members" if not case.adopting else "members, bundle and the earlier silos' rows"
        case.unpinned.append(
            f"{taken} are taken over from release {manifest.parents[0][:12]}, which was not at hand to compare"
        )
    elif case.parent.digest not in manifest.parents:
        case.found.add(
            Finding.PARENT_MISMATCH, f"the parent given is {case.parent.digest[:12]}, not the manifest's"
        )
    else:
        _check_taken_over(case, case.parent)


def _check_taken_over(case: Case, parent: Manifest) -> None:
    manifest = case.manifest
    same: dict[str, bool] = {"members": manifest.members == parent.members}
    if case.adopting:
        earlier = manifest.rows.keys() - set(case.senders)
        silent = (parent.roster.keys() & manifest.roster.keys()) - set(case.senders)
        same |= {
            "silos of the base": case.base is not None and sorted(case.base.silos) == sorted(parent.rows),
            "epoch": manifest.epoch == parent.epoch,
            "epochCheck": manifest.epoch_check == parent.epoch_check,
            "bundle": manifest.bundle == parent.bundle,
            "rows": parent.rows.keys() <= manifest.rows.keys()
            and all(manifest.rows[silo] == parent.rows.get(silo) for silo in earlier),
            "commitments to cohorts": all(
                manifest.roster[silo].data == parent.roster[silo].data for silo in silent
            ),
        }
    elif manifest.bundle is not None and parent.bundle is not None:
        same["plain bundle"] = manifest.bundle.plain == parent.bundle.plain
    for what, equal in same.items():
        case.found.require(
            equal,
            Finding.PARENT_MISMATCH,
            f"{what}: other than in release {parent.digest[:12]}, from which they are taken over",
        )
