import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fedgestalt.models.bundle import module_tensors
from fedgestalt.models.digest import file_digest, model_hash
from fedgestalt.models.registry import build_extractor
from fedgestalt.models.weights import (
    SEARCH_PATH_VARIABLE,
    InitialWeightsMissing,
    WeightsMismatch,
    find_weights,
    load_initial_weights,
    read_tensors,
    shipped_weights,
)


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("detonated"),))  # type: ignore[return-value]


def test_missing_weights_say_what_where_and_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path))
    with pytest.raises(InitialWeightsMissing) as error:
        find_weights("glint360k-r50", "sha256:" + "0" * 64)
    for part in (
        "glint360k-r50",
        "0" * 64,
        str(tmp_path / "glint360k-r50.safetensors"),
        SEARCH_PATH_VARIABLE,
    ):
        assert part in str(error.value)


def test_the_search_path_holds_names_with_any_suffix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, f"{tmp_path / 'nowhere'}:{tmp_path}")
    torch.save({}, tmp_path / "mine.pt")
    assert find_weights("mine") == tmp_path / "mine.pt"
    assert find_weights("mine.pt", file_digest(tmp_path / "mine.pt")) == tmp_path / "mine.pt"


def test_a_file_with_another_digest_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(InitialWeightsMissing, match=file_digest(path)):
        find_weights(path, "sha256:" + "1" * 64)


def test_code_in_a_pickle_is_never_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": _Bomb()}, "evil.pt")
    with pytest.raises(WeightsMismatch, match="not a plain state dict"):
        read_tensors(tmp_path / "evil.pt")
    assert not (tmp_path / "detonated").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_files_are_one_clear_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(WeightsMismatch, match="damaged"):
        load_initial_weights(build_extractor("resnet_s16"), path)


def test_a_whole_checkpoint_is_told_from_a_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": {"w": torch.zeros(1)}, "epoch": 3}, path)
    with pytest.raises(WeightsMismatch, match="state dict"):
        read_tensors(path)


@pytest.mark.parametrize("name", sorted(shipped_weights()))
def test_shipped_weights_are_what_their_card_says(name: str) -> None:
    path = shipped_weights()[name]
    card = json.loads(path.with_suffix(".json").read_text())
    extractor = build_extractor(card["extractor"])
    assert load_initial_weights(extractor, name, card["digest"]) == path
    assert model_hash(module_tensors(extractor)) == card["modelHash"]
    assert card["synthetic"] is True
