import io
from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fedgestalt.serving.bands import BANDS, band_of
from fedgestalt.serving.federation import Absence, FederatedAnswer, FederatedMatch, FederationAbsent

from .conftest import CLASSES, HERE, RARE_NAME, THERE, Hub, Serve, Site, jpeg, rendered

JPEG = {"content-type": "image/jpeg"}


def test_another_photo_of_a_patient_ranks_the_patients_syndrome_first(site: Site, serve: Serve) -> None:
    answer = serve(site.federation()).post("/v1/analyses", content=jpeg(rendered(3, 1, 1)), headers=JPEG)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    own, others = content["local"]["candidates"], content["federated"]["candidates"]
    assert own[0]["syndrome"] == others[0]["syndrome"] == CLASSES[3].name
    assert {c["syndrome"] for c in own} == {CLASSES[s].name for s in HERE}
    assert {c["syndrome"] for c in others} == {CLASSES[s].name for s in THERE}
    assert (
        own[0]["case"] == site.own.handles[site.own.names.index(f"{CLASSES[3].name}-1.jpg")].tobytes().hex()
    )
    assert [c["rank"] for c in own] == [1, 2, 3, 4]
    assert {c["source"] for c in own} == {"local"}
    assert {c["source"] for c in others} == {"federated"}
    assert [c["name"] for c in others if c["syndrome"] == CLASSES[5].name] == [RARE_NAME]
    assert content["notices"] == []
    assert content["federated"]["budgetLeft"] == 1998
    assert content["conclusion"]["code"] == "CandidatesToConsider"
