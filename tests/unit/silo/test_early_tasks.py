"""A hub's task may come before what it stands on: it waits, and is not begun with what happens to be there."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from fedgestalt.silo.course import Course
from fedgestalt.silo.models import GlobalModel, ModelStore
from fedgestalt.training.config import Member, TrainingConfig

from .test_leaving import Running, site

__all__ = ["site"]


class Started:
    """Workloads that remember what was started."""

    def __init__(self) -> None:
        self.tasks: list[str] = []

    def start(self, task: str) -> None:
        self.tasks.append(task)


class Waiting(Running):
    """A round of two communication rounds for one trained and one frozen member, without a bundle yet."""

    def __init__(self, site: Any) -> None:
        super().__init__(site)
        self.models, self.started = ModelStore(site.directory / "models"), Started()
        members = (Member("m0", "smallnet"), Member("m1", "sface", trainable=False))
        steps: Any = SimpleNamespace()
        self.bundle = site.directory / "bundle"
        part, work = self.part, self.work
        part.lock = threading.RLock()  # type: ignore[attr-defined]
        part.course = Course(steps, TrainingConfig(members, communication_rounds=2), self.models)  # type: ignore[attr-defined]
        work._results = SimpleNamespace(bundle=self.bundle)  # type: ignore[assignment]
        work._workloads = self.started  # type: ignore[assignment]

    def offered(self, task: str) -> list[str]:
        self.work.on_task(task, "d" * 64, 1)
        return self.started.tasks


@pytest.fixture
def waiting(site: Any) -> Waiting:
    return Waiting(site)


@pytest.mark.parametrize("t", [None, 0, 1])
def test_rows_are_not_made_with_the_model_before_the_last(waiting: Waiting, t: int | None) -> None:
    if t is not None:
        waiting.models.put("m0", GlobalModel(t, {}, ""))
    assert waiting.offered("Encode") == []
    waiting.models.put("m0", GlobalModel(2, {}, ""))
    assert waiting.offered("Encode") == ["Encode"]


def test_a_round_that_does_not_train_encodes_with_its_bundle(waiting: Waiting) -> None:
    waiting.bundle.mkdir()
    assert waiting.offered("Encode") == ["Encode"]


def test_a_newcomer_waits_for_the_bundle_whatever_it_trained_before(waiting: Waiting) -> None:
    waiting.work._admission = SimpleNamespace()  # type: ignore[assignment]
    waiting.models.put("m0", GlobalModel(2, {}, ""))
    assert waiting.offered("Encode") == []
    waiting.bundle.mkdir()
    assert waiting.offered("Encode") == ["Encode"]


def test_training_starts_at_once(waiting: Waiting) -> None:
    assert waiting.offered("Train") == ["Train"]
