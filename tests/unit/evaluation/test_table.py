import json
import math
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from fedgestalt.evaluation import (
    ARMS,
    ROWS,
    SETTING_NAMES,
    EvaluationError,
    EvaluationTable,
    accuracy_table,
    gain_kept,
    pool,
    report_figures,
    retention,
)


def table(level, replicates=40, seed=0):
    """A table whose figures lie around `level`; equal seeds share their bootstrap noise."""
    values = np.full((5, 4), level)
    noise = np.random.default_rng(seed).normal(size=(5, 4, replicates)) * 0.01
    return EvaluationTable.of_replicates(values, values[..., None] * (1 + noise))


ARM_TABLES = {
    "federated": table(0.45),
    "centralised": table(0.5),
    "local_only": table(0.3),
    "start": table(0.4),
}


def test_a_table_survives_json_but_for_its_replicates():
    made = table(0.5)
    again = EvaluationTable.from_json(json.loads(json.dumps(made.to_json(), allow_nan=False)))
    for name in ("values", "lower", "upper"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    assert again.replicates.shape == (5, 4, 0)


def test_what_does_not_exist_is_null_in_json_and_nan_again():
    values = np.full((5, 4), np.nan)
    made = EvaluationTable.of_replicates(values, np.empty((5, 4, 0)))
    content = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert content["average"] == {
        "top1": None, "top5": None, "top10": None, "top30": None,
        "intervals": {name: [None, None] for name in ("top1", "top5", "top10", "top30")},
    }  # fmt: skip
    assert math.isnan(EvaluationTable.from_json(content).value("average", 1))


@pytest.mark.parametrize("content", [{}, {"frequent_frequent": {"top1": 1.0}}, {"frequent_frequent": 3}])
def test_json_of_another_form_is_refused(content):
    with pytest.raises(EvaluationError, match="frequent_frequent, top1"):
        EvaluationTable.from_json(content)


def test_intervals_are_percentiles_of_the_replicates():
    replicates = np.broadcast_to(np.linspace(0.0, 1.0, 201), (5, 4, 201))
    made = EvaluationTable.of_replicates(np.full((5, 4), 0.5), replicates)
    np.testing.assert_allclose(made.lower, 0.025)
    np.testing.assert_allclose(made.upper, 0.975)


def test_a_figure_that_often_does_not_exist_has_no_interval():
    replicates = np.ones((5, 4, 100))
    replicates[2, 1, :10] = np.nan
    made = EvaluationTable.of_replicates(np.ones((5, 4)), replicates)
    assert np.isnan(made.lower[2, 1])
    assert np.isfinite(np.delete(made.lower.ravel(), 9)).all()


def test_retention_is_a_ratio_and_shared_noise_cancels_in_its_interval():
    kept = retention(ARM_TABLES["federated"], ARM_TABLES["centralised"])
    np.testing.assert_allclose(kept.values, 0.9)
    assert (kept.upper - kept.lower).max() < 1e-12
    other_patients = retention(ARM_TABLES["federated"], table(0.5, seed=1))
    assert (other_patients.upper - other_patients.lower).min() > 0.01


def test_retention_of_the_average_is_the_ratio_of_the_averages():
    def averaged(figures):
        values = np.concatenate([figures, figures.mean(axis=0, keepdims=True)])
        return EvaluationTable.of_replicates(values, np.empty((5, 4, 0)))

    high = averaged(np.array([[0.8], [0.4], [0.8], [0.4]]) * np.ones(4))
    low = averaged(np.array([[0.8], [0.2], [0.8], [0.2]]) * np.ones(4))
    kept = retention(low, high)
    assert kept.value("rare_rare", 5) == 0.5
    assert kept.value("average", 5) == pytest.approx(0.5 / 0.6)
    assert np.isnan(kept.lower).all()


def test_gain_kept_measures_from_the_start():
    gain = gain_kept(ARM_TABLES["federated"], ARM_TABLES["start"], ARM_TABLES["centralised"])
    np.testing.assert_allclose(gain.values, 0.5)


def test_there_is_no_gain_to_keep_where_training_gained_nothing():
    gain = gain_kept(table(0.45), table(0.5), table(0.5))
    assert np.isnan(gain.values).all()
    worse = gain_kept(table(0.45), table(0.5), table(0.4))
    assert np.isnan(worse.values).all()


def test_pooled_figures_are_means_and_their_interval_that_of_the_mean():
    first, second = table(0.2, seed=1), table(0.4, seed=2)
    both = pool([first, second])
    np.testing.assert_allclose(both.values, 0.3)
    np.testing.assert_allclose(both.replicates, (first.replicates + second.replicates) / 2)
    assert np.isnan(pool([first, table(0.4, replicates=7)]).lower).all()
    with pytest.raises(EvaluationError, match="no table"):
        pool([])


def test_the_report_holds_every_arm_of_every_setting_with_retention_and_gain():
    figures = json.loads(json.dumps(report_figures(ARM_TABLES), allow_nan=False))
    assert set(figures) == {*ROWS, "retention", "gain_kept"}
    for setting in SETTING_NAMES:
        assert set(figures[setting]) == set(ARMS)
        for arm in ARMS:
            assert set(figures[setting][arm]) == {"top1", "top5", "top10", "top30", "intervals"}
    assert figures["rare_all"]["federated"]["top10"] == 0.45
    assert figures["retention"]["average"]["top1"] == pytest.approx(0.9)
    assert figures["gain_kept"]["frequent_all"]["top5"] == pytest.approx(0.5)


def test_a_report_without_an_arm_names_the_arm():
    with pytest.raises(EvaluationError, match="missing: start"):
        report_figures({arm: t for arm, t in ARM_TABLES.items() if arm != "start"})


def test_the_printed_table_shows_arms_intervals_retention_and_gain():
    console = Console(width=140, record=True, file=StringIO())
    console.print(accuracy_table(ARM_TABLES, title="demo"))
    text = console.export_text()
    for expected in ("demo", "frequent / all", "average", "local-only", "retention", "gain kept", "top-30"):
        assert expected in text
    assert "45.0 [44, 46]" in text
    assert text.count("90.0") == 20


def test_the_printed_table_leaves_out_what_is_not_given():
    console = Console(width=140, record=True, file=StringIO())
    console.print(accuracy_table({"centralised": table(0.5, replicates=0)}))
    text = console.export_text()
    assert "retention" not in text
    assert text.count(" 50.0 ") == 20
