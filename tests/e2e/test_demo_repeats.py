"""`--seed` fixes a whole demonstration: photos, keys, training, and so the model and every figure."""

from pathlib import Path

import pytest

from fedgestalt.local.demo import Demo, DemoSettings

from .numeric_federation import final_models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def test_the_same_seed_gives_the_same_model_and_the_same_table(tmp_path: Path) -> None:
    results = [Demo(tmp_path / name, DemoSettings(tier="tiny", seed=11)).run(arms=()) for name in ("a", "b")]
    models = [final_models(dict(result.outcome.manifest or {})) for result in results]
    assert models[0] == models[1]
    assert results[0].outcome.score == results[1].outcome.score
