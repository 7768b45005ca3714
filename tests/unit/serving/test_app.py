"""Around the analysis: probes, guard, OpenAPI, and what is never logged."""

import logging
import threading

import pytest
from fastapi.testclient import TestClient

from fedgestalt.flake.bands import BANDS
from fedgestalt.serving import answers, examples
from fedgestalt.serving.analyses import Analyses
from fedgestalt.serving.app import create_app
from fedgestalt.serving.local_gallery import LocalGallery
from fedgestalt.serving.problems import PROBLEMS, Code
from fedgestalt.serving.release import ReleaseError

from .conftest import CLASSES, JPEG, Serve, Site, jpeg, rendered


def test_it_is_alive_at_once_and_ready_when_the_release_is_there(site: Site) -> None:
    go, ended = threading.Event(), threading.Event()

    def load() -> Analyses:
        go.wait(60)
        return Analyses(site.release, None)

    with TestClient(create_app(load, loaded=lambda failure: ended.set())) as client:
        assert client.get("/healthz").status_code == 200
        for answer in (client.get("/readyz"), client.post("/v1/analyses"), client.get("/v1/release")):
            assert (answer.status_code, answer.json()["code"]) == (503, "NotReady")
            assert answer.headers["retry-after"]
        go.set()
        assert ended.wait(60)
        assert client.get("/readyz").status_code == 200


def test_a_release_that_cannot_be_served_never_turns_ready() -> None:
    ended: list[str | None] = []
    done = threading.Event()

    def load() -> Analyses:
        raise ReleaseError("manifest.json: was altered")

    def loaded(failure: str | None) -> None:
        ended.append(failure)
        done.set()

    with TestClient(create_app(load, loaded=loaded)) as client:
        assert done.wait(60)
        assert client.get("/readyz").json()["code"] == "NotReady"
    assert ended == ["manifest.json: was altered"]


def test_the_release_says_what_is_served(site: Site, serve: Serve) -> None:
    content = serve(site.hub()).get("/v1/release").json()
    assert content["digest"] == site.release.digest
    assert content["epoch"] == site.epoch
    assert content["silo"] == site.release.silo
    assert content["bands"] == BANDS
    assert content["syndromes"] == len(CLASSES)
    assert content["federation"] is True
    assert content["notice"] == answers.NOTICE


def test_pages_of_other_sites_cannot_send_photos(serve: Serve) -> None:
    client = serve(hosts=("testserver",))
    for origin in ("cross-site", "same-site"):
        answer = client.post("/v1/analyses", headers={"sec-fetch-site": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "ForeignPage")
    assert client.get("/healthz", headers={"sec-fetch-site": "cross-site"}).status_code == 200
    assert client.get("/healthz", headers={"host": "testserver:8080"}).status_code == 200
    rebound = client.get("/healthz", headers={"host": "evil.example"})
    assert (rebound.status_code, rebound.json()["code"]) == (403, "ForeignPage")


def test_a_failure_is_logged_by_type_and_place_only(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nearest(*_: object) -> None:
        raise ValueError("patient Doe has OMIM:1")

    client = serve()
    monkeypatch.setattr(LocalGallery, "nearest", nearest)
    answer = client.post("/v1/analyses", content=jpeg(rendered(3, 1, 1)), headers=JPEG)
    assert (answer.status_code, answer.json()["code"]) == (500, "Internal")
    assert "ValueError" in caplog.text
    assert "Doe" not in caplog.text + answer.text


def test_logs_hold_nothing_of_a_photo(site: Site, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = serve(site.hub())
    content = client.post("/v1/analyses", content=jpeg(rendered(3, 1, 1)), headers=JPEG).json()
    for candidate in content["local"]["candidates"] + content["federated"]["candidates"]:
        assert candidate["syndrome"] not in caplog.text
        assert candidate["case"] not in caplog.text


def test_unknown_paths_methods_and_parameters_are_problems(serve: Serve) -> None:
    client = serve()
    for answer, status, code in (
        (client.get("/nowhere"), 404, "NotFound"),
        (client.get("/v1/analyses"), 405, "MethodNotAllowed"),
        (client.post("/v1/analyses?proceed=perhaps"), 400, "Invalid"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"


def test_openapi_names_every_answer_with_an_example(serve: Serve) -> None:
    document = serve().get("/openapi.json").json()
    assert document["openapi"].startswith("3.1.")
    analyse = document["paths"]["/v1/analyses"]["post"]
    assert set(analyse["requestBody"]["content"]) == {"image/jpeg", "image/png", "multipart/form-data"}
    shown = {
        code
        for response in analyse["responses"].values()
        for code in response["content"].get("application/problem+json", {}).get("examples", {})
    }
    assert shown == set(PROBLEMS) - {Code.INVALID, Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED}
    assert analyse["responses"]["200"]["content"]["application/json"]["examples"]
    assert "/docs" not in document["paths"]


def test_examples_are_answers() -> None:
    for example in examples.ANALYSES.values():
        assert answers.Analysis.model_validate(example["value"])
    for code in PROBLEMS:
        if code in examples.DETAILS:
            assert answers.ProblemDocument.model_validate(examples.problem(code)).code == code
