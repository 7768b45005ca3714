"""Evaluation plans: read strictly, every slip named at once."""

from pathlib import Path

import pytest

from fedgestalt.local.cells import Cell, PlanError, load_plan


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return path


def test_a_plan_gives_cells_and_seeds(tmp_path: Path) -> None:
    plan = load_plan(
        written(
            tmp_path,
            "tier: tiny\nseeds: [3, 4]\ncells:\n"
            "  - {split: near-uniform}\n  - {split: 'dirichlet:0.3', silos: 8, strategy: FedProx, rounds: 80}\n",
        )
    )
    assert plan.seeds == (3, 4)
    assert plan.cells == (Cell("near-uniform", 4, "tiny"), Cell("dirichlet:0.3", 8, "tiny", "FedProx", 80))
    assert [cell.name for cell in plan.cells] == ["near-uniform", "dirichlet-0.3-8-silos-fedprox-80-rounds"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cells: []", "cells: expected a list"),
        ("cells: [{silos: 4}]", r"cells\[0\].split: missing"),
        ("cells: [{split: uneven}]", r"cells\[0\].split"),
        ("cells: [{split: near-uniform, silos: 2}]", r"cells\[0\].silos: 2 silos"),
        ("cells: [{split: near-uniform, silos: four}]", r"cells\[0\].silos"),
        ("cells: [{split: near-uniform, strategy: FedSGD}]", "FedSGD"),
        ("cells: [{split: near-uniform, epochs: 3}]", "epochs: unknown"),
        ("cells: [{split: near-uniform, rounds: 0}]", "rounds: expected a whole number"),
        ("cells: [{split: near-uniform}, {split: near-uniform}]", "listed twice"),
        ("seeds: [0, 0]\ncells: [{split: near-uniform}]", "seeds"),
        ("tier: huge\ncells: [{split: near-uniform}]", "tier"),
        ("- 1", "expected a map"),
        ("cells: [", "not YAML"),
    ],
)
def test_each_slip_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(PlanError, match=named):
        load_plan(written(tmp_path, text))
