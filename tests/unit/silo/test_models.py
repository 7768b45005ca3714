from pathlib import Path

import numpy as np

from fedgestalt.silo.models import GlobalModel, ModelStore


def test_a_model_comes_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model = GlobalModel(
        3,
        {"extractor.a": rng.normal(size=(3, 2)).astype(np.float32), "head.w": np.float32([-0.0, np.pi])},
        "ab" * 32,
        {"velocity/extractor.a": rng.normal(size=(3, 2))},
        {"extractor.a": rng.normal(size=(3, 2)), "head.w": np.zeros(2)},
    )
    ModelStore(tmp_path / "m").put("s16", model)
    back = ModelStore(tmp_path / "m").get("s16")
    assert back is not None
    assert (back.t, back.initial_hash, back.hash) == (3, "ab" * 32, model.hash)
    assert back.strategy["velocity/extractor.a"].tobytes() == model.strategy["velocity/extractor.a"].tobytes()
    assert back.previous["extractor.a"].tobytes() == model.previous["extractor.a"].tobytes()


def test_an_unknown_member_has_no_model(tmp_path: Path) -> None:
    assert ModelStore(tmp_path / "m").get("s16") is None
