"""The whole evaluation against a slow reference that follows the protocol's words."""

import numpy as np
import pytest

from fedgestalt.evaluation import (
    KS,
    EvaluationError,
    Layout,
    evaluate_plaintext,
    plaintext_contributions,
    summarise,
)
from fedgestalt.evaluation.bootstrap import patient_weights

SPLITS = 3
REPLICATES = 5


def cohort(seed=0, n=160, frequent=8, rare=5, dim=12):
    rng = np.random.default_rng(seed)
    number = rng.integers(0, frequent + rare, n)
    embeddings = rng.normal(size=(frequent + rare, dim))[number] * 0.7 + rng.normal(size=(n, dim))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    syndromes, roles, test_splits = [], [], []
    for i in number:
        is_rare = i >= frequent
        undiagnosed = rng.random() < 0.05
        syndromes.append(None if undiagnosed else f"SYN:{'R' if is_rare else 'F'}{i:03d}")
        roles.append(
            "undiagnosed"
            if undiagnosed
            else "rotating"
            if is_rare
            else ["train", "test"][int(rng.random() < 0.3)]
        )
        drawn = [int(s) for s in range(1, SPLITS + 1) if rng.random() < 0.5]
        test_splits.append(drawn if roles[-1] == "rotating" else [])
    patients = [f"P{i // 2:03d}" for i in range(n)]
    return embeddings, syndromes, patients, roles, test_splits


def reference(embeddings, syndromes, patients, roles, test_splits, weight):
    """Top-k by setting, in plain Python; `weight` gives the copies of a patient."""
    n = len(syndromes)

    def is_test(i, s):
        return roles[i] == "test" or (roles[i] == "rotating" and s in test_splits[i])

    def is_gallery(i, s):
        return roles[i] == "train" or (roles[i] == "rotating" and s not in test_splits[i])

    def frequent(i):
        return roles[i] in ("train", "test")

    found = {}
    for setting in ("frequent_frequent", "rare_rare", "frequent_all", "rare_all"):
        tests, among = setting.split("_")
        per_split = []
        for s in range(1, SPLITS + 1):
            hits, counts = {}, {}
            for i in range(n):
                if not is_test(i, s) or frequent(i) != (tests == "frequent"):
                    continue
                gallery = [
                    g for g in range(n)
                    if is_gallery(g, s) and (among == "all" or frequent(g) == (among == "frequent"))
                ]  # fmt: skip
                nearest = sorted(gallery, key=lambda g: -float(embeddings[i] @ embeddings[g]))
                listed = list(dict.fromkeys(syndromes[g] for g in nearest))
                w = weight(patients[i])
                counts[syndromes[i]] = counts.get(syndromes[i], 0) + w
                for k in KS:
                    hit = w if syndromes[i] in listed[:k] else 0
                    hits[syndromes[i], k] = hits.get((syndromes[i], k), 0) + hit
            there = [c for c in counts if counts[c]]
            per_split.append([np.mean([hits[c, k] / counts[c] for c in there]) for k in KS])
        found[setting] = np.mean(per_split, axis=0)
    return np.array(list(found.values()))


def test_figures_and_replicates_equal_a_slow_reading_of_the_protocol():
    data = cohort()
    layout = Layout.of(data[1], data[3], SPLITS, REPLICATES)
    table = evaluate_plaintext(*data, layout, seed=7)
    expected = reference(*data, weight=lambda patient: 1)
    assert 0.1 < expected[0, 0] < 0.9  # neither trivial nor hopeless, or nothing is tested
    np.testing.assert_allclose(table.values[:4], expected, atol=1e-12)
    np.testing.assert_allclose(table.values[4], expected.mean(axis=0), atol=1e-12)
    for r in range(REPLICATES):
        drawn = reference(*data, weight=lambda patient, r=r: int(patient_weights(7, patient, REPLICATES)[r]))
        np.testing.assert_allclose(table.replicates[:4, :, r], drawn, atol=1e-12)


def test_float32_embeddings_and_a_small_budget_give_the_same_contributions():
    data = cohort(1)
    layout = Layout.of(data[1], data[3], SPLITS, REPLICATES)
    exact = plaintext_contributions(*data, layout, seed=7)
    np.testing.assert_array_equal(exact, plaintext_contributions(*data, layout, seed=7, budget=10_000))
    single = plaintext_contributions(data[0].astype(np.float32), *data[1:], layout, seed=7)
    np.testing.assert_array_equal(exact, single)


def test_perfect_embeddings_score_one_and_shuffled_syndromes_chance():
    rng = np.random.default_rng(3)
    syndromes = [f"SYN:F{i:02d}" for i in range(40)] * 12
    roles = ["train"] * 240 + ["test"] * 240
    embeddings = np.eye(40)[np.arange(480) % 40] + rng.normal(size=(480, 40)) * 0.05
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    patients = [str(i) for i in range(480)]
    layout = Layout.of(syndromes, roles, 1, 0)
    right = evaluate_plaintext(embeddings, syndromes, patients, roles, [[]] * 480, layout, seed=0)
    assert right.value("frequent_frequent", 1) == 1.0
    shuffled = [syndromes[i] for i in rng.permutation(240)] + [syndromes[i] for i in rng.permutation(240)]
    chance = evaluate_plaintext(embeddings, shuffled, patients, roles, [[]] * 480, layout, seed=0)
    assert chance.value("frequent_frequent", 1) < 0.1
    assert abs(chance.value("frequent_frequent", 10) - 10 / 40) < 0.15


def test_a_setting_without_tests_has_no_figure_and_no_average():
    data = cohort()
    keep = [i for i, role in enumerate(data[3]) if role != "rotating"]
    few = [data[0][keep], *([part[i] for i in keep] for part in data[1:])]
    layout = Layout.of(few[1], few[3], SPLITS, REPLICATES)
    table = evaluate_plaintext(*few, layout, seed=0)
    assert np.isfinite(table.values[0]).all()
    assert np.isnan(table.values[[1, 3, 4]]).all()
    assert table.row_json("rare_rare")["top1"] is None


def test_a_syndrome_whose_photos_are_all_tests_counts_as_missed():
    embeddings = np.eye(3)
    layout = Layout(("SYN:A", "SYN:B"), (), 1, 0)
    table = evaluate_plaintext(
        embeddings, ["SYN:A", "SYN:A", "SYN:B"], ["1", "2", "3"], ["train", "test", "test"], [[]] * 3, layout,
        seed=0,
    )  # fmt: skip
    assert table.values[0].tolist() == [0.5] * 4


def test_syndromes_outside_the_vocabulary_are_named():
    layout = Layout(("SYN:A",), (), 1, 0)
    with pytest.raises(EvaluationError, match="SYN:B"):
        evaluate_plaintext(np.eye(1), ["SYN:B"], ["1"], ["train"], [[]], layout, seed=0)


def test_an_altered_sum_with_more_hits_than_tests_is_refused():
    data = cohort()
    layout = Layout.of(data[1], data[3], SPLITS, REPLICATES)
    vector = plaintext_contributions(*data, layout, seed=7)
    vector[0] += 1000
    with pytest.raises(EvaluationError, match="more hits than tests"):
        summarise(vector, layout)
