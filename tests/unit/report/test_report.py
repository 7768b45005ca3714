"""What the report promises its readers."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from fedgestalt.evaluation import ROWS
from fedgestalt.report import LookAlikes, Neighbour, Photo, ReportError, ReportInput, SiloFacts, write_report
from fedgestalt.report.content import to_json
from fedgestalt.report.pictures import BADGE, badged

from .conftest import photo, table

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/reference/report.schema.json").read_text())
Make = Callable[..., ReportInput]


def page(tmp_path: Path, result: ReportInput) -> str:
    return write_report(tmp_path, result)[0].read_text()


def figures(result: ReportInput) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(to_json(result), allow_nan=False))
    jsonschema.validate(content, SCHEMA, jsonschema.Draft202012Validator)
    return content


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory, default_input: ReportInput) -> str:
    """The page of the whole made-up result, written once."""
    return page(tmp_path_factory.mktemp("report"), default_input)


def tree(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>\n"))


def test_the_page_is_well_formed_and_escapes_names(default: str) -> None:
    html = default
    assert tree(html).find("body") is not None
    assert "demo <tier>" not in html
    assert "demo &lt;tier&gt;" in html


def test_research_use_only_stands_first(default: str) -> None:
    body = tree(default).find("body")
    assert body is not None
    assert "Research use only, not a diagnosis" in (body[0].text or "")


def test_every_picture_has_an_alternative_text_and_every_face_its_badge(default: str) -> None:
    images = list(tree(default).iter("img"))
    faces = [i for i in images if i.attrib["src"].startswith("data:image/jpeg")]
    assert len(faces) == 4 * 4 + 12
    assert all(BADGE in image.attrib["alt"] for image in faces)
    assert all(image.attrib.get("alt") for image in images)


def test_the_badge_is_in_the_pixels() -> None:
    face = photo("north", 1)
    strip = np.asarray(badged(face.pixels))[-18:]
    assert len(np.unique(strip.reshape(-1, 3), axis=0)) > 5  # letters on the strip
    assert strip.max() > 240


def test_the_page_loads_nothing(default: str) -> None:
    html = default
    loads = [
        v for e in tree(html).iter() for k, v in e.attrib.items() if k in {"src", "href", "srcset", "action"}
    ]
    assert loads
    assert all(value.startswith("data:") for value in loads)
    assert not re.search(r"url\(|@import|<script|<link", html)
    assert "default-src 'none'" in html


def test_the_figures_match_the_schema_and_the_input(make: Make) -> None:
    result = make()
    content = figures(result)
    assert content["rare_all"]["federated"]["top10"] == result.arms["federated"].value("rare_all", 10)
    assert content["retention"]["average"]["top5"] == pytest.approx(0.97)
    assert content["gain_kept"]["average"]["top5"] == pytest.approx(0.7)
    assert content["seed"] == 7


def test_intervals_are_in_order(make: Make) -> None:
    content = to_json(make())
    tables = [content[row][arm] for row in ROWS for arm in content[row]]
    tables += [content[name][row] for name in ("retention", "gain_kept") for row in ROWS]
    intervals = [pair for entry in tables for pair in entry["intervals"].values() if None not in pair]
    assert len(intervals) > 100
    assert all(low <= high for low, high in intervals)


def test_the_headline_is_the_figure_of_the_table(default: str) -> None:
    text = " ".join("".join(tree(default).itertext()).split())
    assert "kept 97 % (95 % interval" in text
    assert "70 % was kept" in text


def test_missing_arms_are_left_out_and_said_so(tmp_path: Path, make: Make) -> None:
    result = make(arms={"federated": table(0.9)}, montage=(), aggregations=())
    content = figures(result)
    assert content["frequent_all"]["centralised"] is None
    assert content["retention"] is None
    html = page(tmp_path, result)
    assert "Not computed in this run: Centralised, Local only" in html
    assert "nothing can be said of how much it keeps" in html
    tree(html)


def test_figures_that_do_not_exist_become_null(make: Make) -> None:
    empty = table(0.9, replicates=0)
    content = figures(make(arms={"federated": empty}))
    assert content["rare_rare"]["federated"]["intervals"]["top1"] == [None, None]


def test_photos_of_real_people_are_never_embedded(tmp_path: Path, make: Make) -> None:
    cohort = dataclasses.replace(make().cohort, synthetic=False)
    html = page(tmp_path, make(cohort=cohort))
    assert "data:image/jpeg" not in html
    assert "this cohort is of real people" in html


def test_a_photo_of_another_silo_is_refused(make: Make) -> None:
    foreign = LookAlikes(photo("north", 1), (Neighbour("SYN:F001", photo("east", 2)),))
    with pytest.raises(ReportError, match=r"silos\.north\.look_alikes.*handle"):
        make(silos=(SiloFacts("north", 1, look_alikes=(foreign,)),), aggregations=())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": {}}, "federated table is missing"),
        ({"model_sha256": "abc"}, "64 lower-case hex"),
        ({"wall_seconds": float("nan")}, "wall_seconds"),
        ({"silos": ()}, "each silo once"),
        ({"arms": {"federated": table(0.9), "best": table(0.9)}}, "unknown 'best'"),
        ({"arms": {"federated": table(90.0)}}, "fractions"),
    ],
)
def test_bad_input_is_one_clear_error(make: Make, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        make(**change)


def test_a_broken_picture_leaves_the_old_report(tmp_path: Path, make: Make) -> None:
    before = page(tmp_path, make())
    grey = Photo("north", np.zeros((8, 8), dtype=np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        write_report(tmp_path, make(montage=(grey,), seed=8))
    assert (tmp_path / "report.html").read_text() == before
    assert json.loads((tmp_path / "report.json").read_text())["seed"] == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, make: Make, default: str) -> None:
    assert page(tmp_path, make()) == default
