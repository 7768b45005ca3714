"""What discovery told in a federation on this machine, held against what the synthetic patients truly have.

Only here can anybody do that: hospitals know no other's cases, and the hub knows no patient.
"""

from __future__ import annotations

import json
from pathlib import Path

from fedgestalt.data.federation import load_federation
from fedgestalt.data.undiagnosed import read_truth
from fedgestalt.evaluation.discovery import Case, Judgement
from fedgestalt.exchange.epochs.store import EpochStore
from fedgestalt.lineage import StoredRelease
from fedgestalt.local.setup import Layout
from fedgestalt.silo.matching import HANDLES


class NotToldError(Exception):
    """The hub of this work directory has no clusters to judge; the message says why."""


def judge(workdir: Path, cohorts: Path, release: StoredRelease) -> Judgement:
    """Judge the clusters that the hub of a work directory told of a release's epoch.

    Args:
        workdir: of `fedgestalt run`.
        cohorts: of `fedgestalt synth --undiagnosed`.
        release: whose epoch.

    Raises:
        CohortError: the cohorts have no truth beside them.
        NotToldError: the hub keeps no such epoch.
        RefusedError: EpochUnknown, EpochEnded.
    """
    truth, held_out = read_truth(cohorts)
    layout = Layout(workdir.resolve())
    folder = layout.board / "epochs"
    if not folder.is_dir():
        raise NotToldError(f"{workdir} has no query service yet; run a round there first")
    patients = {
        name: {photo.image.as_posix(): photo.patient for photo in cohort.photos}
        for name, cohort in load_federation(cohorts).items()
    }
    cases: dict[tuple[str, bytes], Case] = {}
    for silo in release.manifest.rows:
        path = layout.silo(silo) / "releases" / release.digest / HANDLES
        for photo, handle in (json.loads(path.read_text()) if path.exists() else {}).items():
            patient = patients.get(silo, {}).get(photo)
            if patient in truth:
                cases[silo, bytes.fromhex(handle)] = Case(silo, truth[patient])
    store = EpochStore(folder)
    try:
        store.record(release.manifest.epoch)
        clusters = store.clusters(release.manifest.epoch)
    finally:
        store.close()
    return Judgement.of(
        [[cases[member] for member in members if member in cases] for members in clusters],
        held_out,
        cases.values(),
    )
