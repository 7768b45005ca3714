"""Whole rounds over small vectors: hub, exchange, four agents and their trainers as processes, with real cryptography."""

import contextlib
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedgestalt.models.digest import model_hash
from fedgestalt.silo.models import ModelStore

from .numeric_federation import federation, final_models, load
from .numeric_trainer import start, update

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SILOS = ["east", "north", "south", "west"]


def plain_fedavg(folder: Path, weights: Mapping[str, int], rounds: int) -> dict[str, np.ndarray]:
    """Weighted FedAvg in the clear over the updates that the silos' trainers made."""
    model = {name: tensor.astype(np.float64) for name, tensor in start("m0").items()}
    for t in range(1, rounds + 1):
        seeds = {name: (folder / "federation" / "silos" / name / "seed").read_bytes() for name in weights}
        for name in model:
            total = sum(weights[silo] * update(seeds[silo], "m0", t)[name] for silo in weights)
            model[name] = (model[name] + total / sum(weights.values())).astype(np.float32).astype(np.float64)
    return model


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    outcome = federation(folder, SILOS).run()
    return {"folder": folder, "outcome": outcome}


def silo_model(folder: Path, silo: str) -> Any:
    (work,) = (folder / "federation" / "silos" / silo / "work").glob("*/models")
    model = ModelStore(work).get("m0")
    assert model is not None
    return model


def test_the_round_succeeds_and_every_silo_signs(undisturbed: dict[str, Any]) -> None:
    outcome = undisturbed["outcome"]
    assert outcome.phase == "Succeeded"
    assert outcome.status["summary"]["silos"] == "4/4"


def test_the_model_is_that_of_plain_weighted_fedavg(undisturbed: dict[str, Any]) -> None:
    manifest, folder = undisturbed["outcome"].manifest, undisturbed["folder"]
    weights = {name: facts["weight"] for name, facts in manifest["roster"].items()}
    expected = plain_fedavg(folder, weights, rounds=3)
    model = silo_model(folder, "north")
    for name, tensor in model.tensors.items():
        moved = np.abs(expected[name] - start("m0")[name]).max()
        assert np.abs(tensor - expected[name]).max() <= 1e-6 * moved + 1e-6 * np.abs(expected[name]).max()


def test_all_silos_hold_the_model_that_the_manifest_names(undisturbed: dict[str, Any]) -> None:
    named = final_models(undisturbed["outcome"].manifest)["m0"]
    for silo in SILOS:
        assert model_hash(silo_model(undisturbed["folder"], silo).tensors) == named


def test_the_table_equals_the_plaintext_evaluation(undisturbed: dict[str, Any]) -> None:
    from .plaintext import plaintext_table

    table = undisturbed["outcome"].table
    expected = plaintext_table(undisturbed["folder"] / "cohorts")
    np.testing.assert_allclose(table.values, expected.values, atol=1e-6)
    np.testing.assert_allclose(table.lower, expected.lower, atol=1e-6)
    np.testing.assert_allclose(table.replicates, expected.replicates, atol=1e-6)


def test_masked_blobs_are_gone_from_the_hub_at_the_end(undisturbed: dict[str, Any]) -> None:
    board = undisturbed["folder"] / "federation" / "hub" / "board"
    blobs = {path.name for path in board.rglob("blobs/*")} | small_blobs(board)
    spooled = {
        path.name
        for path in (undisturbed["folder"] / "federation" / "silos").rglob("spool/*")
        if path.stat().st_size < 10_000
    }
    assert blobs
    kept = {
        undisturbed["outcome"].manifest["bundle"]["digest"]
    }  # sealed by all, spooled by each, and no secret
    assert not (spooled - kept) & blobs


def small_blobs(board: Path) -> set[str]:
    """Digests of the blobs that the exchange keeps in its database."""
    with contextlib.closing(sqlite3.connect(board / "board.sqlite")) as database:
        return {digest for (digest,) in database.execute("SELECT digest FROM small_blobs")}


def kill_when(fed: Any, name: str, ready: Any) -> Any:
    """A status callback that kills a process once, when ``ready`` says so."""
    done = threading.Event()

    def on_status(status: Mapping[str, Any]) -> None:
        if not done.is_set() and ready(status):
            done.set()
            fed.kill(name)

    on_status.done = done  # type: ignore[attr-defined]
    return on_status


@pytest.mark.parametrize("who", ["north", "exchange"])
@pytest.mark.parametrize("waiting", ["upload m0 t=2", "confirm the model m0 t=1", "rows"])
def test_a_kill_changes_nothing_in_the_result(
    undisturbed: dict[str, Any], tmp_path: Path, who: str, waiting: str
) -> None:
    fed = federation(tmp_path, SILOS)
    hook = kill_when(fed, who, lambda status: waiting in status["summary"]["waiting"])
    outcome = fed.run(hook)
    assert hook.done.is_set(), "the moment never came"
    assert outcome.phase == "Succeeded"
    assert final_models(outcome.manifest) == final_models(undisturbed["outcome"].manifest)
    assert outcome.score == undisturbed["outcome"].score


def test_the_hub_goes_on_where_it_was_killed(undisturbed: dict[str, Any], tmp_path: Path) -> None:
    class HubKilledError(Exception):
        pass

    def stop_in_training(status: Mapping[str, Any]) -> None:
        if status["summary"]["progress"] == "m0 1/3":
            raise HubKilledError

    with pytest.raises(HubKilledError):
        federation(tmp_path, SILOS).run(stop_in_training)
    outcome = federation(tmp_path, SILOS).run()
    assert outcome.phase == "Succeeded"
    assert final_models(outcome.manifest) == final_models(undisturbed["outcome"].manifest)


def test_a_silo_without_a_grant_is_named_with_its_reason(tmp_path: Path) -> None:
    fed = federation(tmp_path, SILOS, deadlines={"start": 45, "active": 600})
    grant = tmp_path / "federation" / "silos" / "west" / "grant.yaml"
    grant.parent.mkdir(parents=True)
    grant.write_text("kind: ParticipationGrant\nspec: {revoked: true}\n")
    outcome = fed.run()
    assert outcome.phase == "Succeeded", "three of four are enough"
    assert "west" not in outcome.manifest["roster"]


def test_progress_is_written_to_the_hubs_status_file(undisturbed: dict[str, Any]) -> None:
    status = load(undisturbed["folder"] / "federation" / "hub" / "status.json")
    assert status["phase"] == "Succeeded"
