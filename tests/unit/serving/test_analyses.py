import asyncio
import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedgestalt.flake import Frame, rotate
from fedgestalt.flake.bands import BANDS
from fedgestalt.flake.index import Match
from fedgestalt.serving.analyses import MOST_AT_ONCE, Analyses
from fedgestalt.serving.federation import Absence, FederatedAnswer, FederationAbsent
from fedgestalt.serving.local_gallery import GalleryFile, LocalGallery
from fedgestalt.serving.problems import Code, Problem

from .conftest import CLASSES, FRAME, HERE, JPEG, RARE_NAME, THERE, Serve, Site, jpeg, rendered


def _photo() -> bytes:
    return jpeg(rendered(3, 1, 1))


def test_another_photo_of_a_patient_ranks_the_patients_syndrome_first(site: Site, serve: Serve) -> None:
    answer = serve(site.hub()).post("/v1/analyses", content=_photo(), headers=JPEG)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    content = answer.json()
    own, others = content["local"]["candidates"], content["federated"]["candidates"]
    assert own[0]["syndrome"] == others[0]["syndrome"] == CLASSES[3].name
    assert {c["syndrome"] for c in own} == {CLASSES[s].name for s in HERE}
    assert {c["syndrome"] for c in others} == {CLASSES[s].name for s in THERE}
    nearest = site.own.handles[site.own.names.index(f"{CLASSES[3].name}-1.jpg")]
    assert own[0]["case"] == nearest.tobytes().hex()
    assert [c["rank"] for c in own] == [1, 2, 3, 4]
    assert {c["source"] for c in own} == {"local"}
    assert {c["source"] for c in others} == {"federated"}
    assert [c["name"] for c in others if c["syndrome"] == CLASSES[5].name] == [RARE_NAME]
    assert content["federated"]["budgetLeft"] == 1999
    assert content["notices"] == []
    assert content["conclusion"]["code"] == "CandidatesToConsider"


def test_an_answer_says_what_it_was_made_with_and_that_it_is_no_diagnosis(site: Site, serve: Serve) -> None:
    content = serve().post("/v1/analyses", content=_photo(), headers=JPEG).json()
    assert content["notice"].startswith("Research use only.")
    assert content["release"] == {"digest": site.release.digest, "name": site.release.name}
    assert content["epoch"] == site.epoch
    assert content["model"]["bundle"] == site.release.bundle.digest
    assert content["model"]["members"] == [{"name": "r16", "extractor": "resnet_s16"}]
    assert content["gallery"] == {"own": 8, "federation": 12}


def test_only_the_rotated_row_leaves(site: Site, serve: Serve) -> None:
    hub = site.hub()
    serve(hub).post("/v1/analyses", content=jpeg(rendered(3, 1, 0)), headers=JPEG)
    (row,) = hub.asked
    embedding = site.own.embeddings[site.own.names.index(f"{CLASSES[3].name}-1.jpg")]
    expected = rotate(embedding[None], Frame.derive(FRAME, len(embedding), site.release.frame.width))[0]
    # The gallery's photo was not compressed, the query is a JPEG of it.
    assert row.shape == expected.shape
    assert float(row @ expected) > 0.95
    assert abs(np.linalg.norm(row) - 1) < 1e-12
    assert abs(float(row[: len(embedding)] @ embedding)) < 0.5


class _Silent:
    """A hub that takes the question and never answers."""

    def __init__(self) -> None:
        self.end = threading.Event()

    def ask(self, row: NDArray[np.float64]) -> FederatedAnswer:
        self.end.wait(60)
        return FederatedAnswer(())


def test_a_hub_that_does_not_answer_in_time_leaves_the_local_part(site: Site, serve: Serve) -> None:
    hub = _Silent()
    try:
        answer = serve(hub, timeout=0.1).post("/v1/analyses", content=_photo(), headers=JPEG).json()
    finally:
        hub.end.set()
    assert answer["federated"] is None
    assert [notice["code"] for notice in answer["notices"]] == ["FederationUnreachable"]
    assert answer["local"]["candidates"][0]["syndrome"] == CLASSES[3].name


class _Refusing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def ask(self, row: NDArray[np.float64]) -> FederatedAnswer:
        raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FederationAbsent(Absence.REFUSED, "no", "BudgetSpent"), "FederationRefused"),
        (RuntimeError("row 0.123"), "FederationFailed"),
    ],
)
def test_a_hub_that_refuses_or_fails_leaves_the_local_part(
    error: Exception, code: str, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    answer = serve(_Refusing(error)).post("/v1/analyses", content=_photo(), headers=JPEG).json()
    assert answer["federated"] is None
    assert [notice["code"] for notice in answer["notices"]] == [code]
    assert answer["notices"][0]["cause"] == getattr(error, "cause", None)
    assert answer["local"]["candidates"]
    assert "0.123" not in caplog.text + str(answer)


def test_without_a_federation_the_answer_says_so(serve: Serve) -> None:
    answer = serve().post("/v1/analyses", content=_photo(), headers=JPEG).json()
    assert answer["federated"] is None
    assert [notice["code"] for notice in answer["notices"]] == ["FederationNotConfigured"]


def test_tokens_that_the_site_cannot_read_are_counted_and_keep_their_ranks(site: Site, serve: Serve) -> None:
    token = next(token for token, name in site.release.tokens.items() if name == CLASSES[5].name)
    lines = (
        Match(1, bytes(16), 1, bytes(16)),
        Match(2, token, 2, bytes(16)),
    )

    class _Odd:
        def ask(self, row: NDArray[np.float64]) -> FederatedAnswer:
            return FederatedAnswer(lines)

    answer = serve(_Odd()).post("/v1/analyses", content=_photo(), headers=JPEG).json()
    assert [(c["rank"], c["syndrome"]) for c in answer["federated"]["candidates"]] == [(2, CLASSES[5].name)]
    assert [notice["code"] for notice in answer["notices"]] == ["SyndromesUnknown"]
    assert answer["notices"][0]["text"].startswith("1 of")


def _gallery(path: Path, embeddings: NDArray[np.float64], syndromes: list[str]) -> None:
    handles = np.zeros((len(syndromes), 16), dtype=np.uint8)
    with (path.parent / "new.npz").open("wb") as file:
        np.savez(file, embeddings=embeddings, syndromes=np.array(syndromes), handles=handles)
    (path.parent / "new.npz").replace(path)


def test_where_every_case_is_far_there_is_no_convincing_match(site: Site, tmp_path: Path) -> None:
    rows = np.random.default_rng(5).normal(size=site.own.embeddings[:6].shape)
    path = tmp_path / "gallery.npz"
    _gallery(path, rows / np.linalg.norm(rows, axis=1, keepdims=True), [f"SYN:X{i}" for i in range(6)])
    release = dataclasses.replace(site.release, gallery=GalleryFile(path, rows.shape[1]))
    analyses = Analyses(release, None)
    answer = asyncio.run(analyses.analyse(_photo()))
    assert answer.conclusion.code == "NoConvincingMatch"
    assert len(answer.local.candidates) == 6
    assert {c.band for c in answer.local.candidates} == {BANDS}


def test_a_case_that_was_taken_out_of_the_gallery_is_not_found_any_more(site: Site, tmp_path: Path) -> None:
    path, own = tmp_path / "gallery.npz", site.own
    _gallery(path, own.embeddings, own.syndromes)
    dim = own.embeddings.shape[1]
    analyses = Analyses(dataclasses.replace(site.release, gallery=GalleryFile(path, dim)), None)
    before = asyncio.run(analyses.analyse(_photo()))
    assert before.local.candidates[0].syndrome == CLASSES[3].name
    kept = [i for i, syndrome in enumerate(own.syndromes) if syndrome != CLASSES[3].name]
    _gallery(path, own.embeddings[kept], [own.syndromes[i] for i in kept])
    after = asyncio.run(analyses.analyse(_photo()))
    assert CLASSES[3].name not in {candidate.syndrome for candidate in after.local.candidates}
    assert (before.gallery.own, after.gallery.own) == (8, 6)
    path.write_bytes(b"damaged")
    with pytest.raises(Problem) as caught:
        asyncio.run(analyses.analyse(_photo()))
    assert caught.value.code is Code.NOT_READY


def test_more_photos_than_places_are_told_to_come_again(site: Site) -> None:
    analyses = Analyses(site.release, None)
    photo = _photo()

    async def one() -> str:
        try:
            with analyses.place():
                await analyses.analyse(photo)
        except Problem as problem:
            return f"{problem.code} {problem.retry_after}"
        return "ok"

    async def many() -> list[str]:
        return await asyncio.gather(*(one() for _ in range(MOST_AT_ONCE + 2)))

    said = asyncio.run(many())
    assert said.count("ok") == MOST_AT_ONCE
    assert said.count(f"{Code.BUSY} 5") == 2
    assert asyncio.run(one()) == "ok"


def test_a_syndromes_score_is_its_nearest_photo_and_ties_go_by_name() -> None:
    rows = np.eye(4)[[0, 1, 0, 2]]
    handles = np.arange(4, dtype=np.uint8)[:, None].repeat(16, axis=1)
    gallery = LocalGallery(rows, np.array(["S:b", "S:a", "S:a", "S:c"]), handles)
    found = gallery.nearest(np.array([1.0, 0.0, 0.0, 0.0]))
    assert [(case.syndrome, case.cosine, case.handle[0]) for case in found] == [
        ("S:a", 1.0, 2),
        ("S:b", 1.0, 0),
        ("S:c", 0.0, 3),
    ]
    assert len(gallery.nearest(rows[0], top=2)) == 2


def test_a_newcomer_without_cases_has_an_empty_list() -> None:
    gallery = LocalGallery(np.zeros((0, 4)), np.array([], dtype="U1"), np.zeros((0, 16), dtype=np.uint8))
    assert gallery.nearest(np.array([1.0, 0.0, 0.0, 0.0])) == ()
    assert gallery.size == 0
