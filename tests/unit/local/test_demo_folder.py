"""A folder of the demonstration is taken up only by the round that it was begun with."""

from pathlib import Path

import pytest

from fedgestalt.data.federation import VOCABULARY
from fedgestalt.local.demo import Demo, DemoSettings
from fedgestalt.local.federation import FederationError


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Demo:
    made = Demo(tmp_path / "demo", DemoSettings(tier="tiny"))
    made.cohorts.mkdir()
    (made.cohorts / VOCABULARY).write_text("{}")
    monkeypatch.setattr(
        "fedgestalt.local.demo.load_federation",
        lambda _: dict.fromkeys(("east", "north", "south", "west")),
    )
    return made


def test_the_same_round_goes_on(demo: Demo) -> None:
    assert demo._document() == demo._document()


def test_what_another_version_trained_is_not_reported_as_this_ones(demo: Demo) -> None:
    demo._document()
    path = demo.out / "round.yaml"
    path.write_text(path.read_text().replace("Trapezoid", "Cosine"))
    before = path.read_text()
    with pytest.raises(FederationError, match="another round than this version would run"):
        demo._document()
    assert path.read_text() == before
