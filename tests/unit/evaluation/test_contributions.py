import numpy as np
import pytest

from fedgestalt.evaluation import Case, EvaluationError, Layout, contributions, summarise
from fedgestalt.evaluation.bootstrap import patient_weights
from fedgestalt.flake import NO_TOKEN, Rankings

LAYOUT = Layout(("SYN:A", "SYN:B"), ("SYN:R",), 2, 3)
TOKENS = {"SYN:A": b"a" * 16, "SYN:B": b"b" * 16, "SYN:R": b"r" * 16}
CASES = {b"1" * 16: Case("SYN:A", "p1"), b"2" * 16: Case("SYN:R", "p2")}
A, B, R = 0, 1, 2


def rankings(order=((R, B, A), (A, R, B), (B, R, NO_TOKEN)), row=(0, 0, 1), split=(1, 2, 2)):
    return Rankings(
        np.frombuffer(b"".join(TOKENS.values()), dtype=np.uint8).reshape(3, 16),
        np.frombuffer(b"".join(CASES), dtype=np.uint8).reshape(2, 16),
        np.array(row, dtype=np.uint32),
        np.array(split, dtype=np.uint8),
        np.array(order, dtype=np.uint16),
    )


def test_hits_and_tests_are_counted_by_setting_split_and_syndrome():
    views = LAYOUT.views(contributions(rankings(), CASES, TOKENS, LAYOUT, seed=1))
    plain = {name: part[..., 0] for name, part in views.items()}
    # k runs over 1, 5, 10, 30. Photo 1 of A: in split 1 third of all and second among frequent ones.
    assert plain["frequent_frequent"][:, 0, :].tolist() == [[0, 0], [1, 0], [1, 0], [1, 0]]
    assert plain["frequent_all"][0].tolist() == [[0, 0], [1, 0]]
    assert plain["frequent_all"][1].tolist() == [[1, 0], [1, 0]]
    # Photo 2 of R, split 2: second of all, first among rare ones.
    assert plain["rare_rare"][0].tolist() == [[0], [1]]
    assert plain["rare_all"][0].tolist() == [[0], [0]]
    assert plain["rare_all"][1].tolist() == [[0], [1]]
    assert plain["counts_trained"].tolist() == [[1, 0], [1, 0]]
    assert plain["counts_rare"].tolist() == [[0], [1]]


def test_replicates_count_a_patient_as_often_as_the_bootstrap_drew_them():
    views = LAYOUT.views(contributions(rankings(), CASES, TOKENS, LAYOUT, seed=1))
    assert views["counts_rare"][1, 0, 1:].tolist() == patient_weights(1, "p2", 3).tolist()
    assert views["frequent_all"][0, 1, 0, 1:].tolist() == patient_weights(1, "p1", 3).tolist()


def test_an_owner_without_tests_contributes_zeros():
    none = Rankings(
        rankings().tokens,
        np.empty((0, 16), dtype=np.uint8),
        np.empty(0, dtype=np.uint32),
        np.empty(0, dtype=np.uint8),
        np.empty((0, 3), dtype=np.uint16),
    )
    assert not contributions(none, {}, TOKENS, LAYOUT, seed=1).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(cases={b"1" * 16: CASES[b"1" * 16]}), "not one of this owner's tests"),
        (lambda a: a.update(tokens={**TOKENS, "SYN:B": b"x" * 16}), "no syndrome of the vocabulary"),
        (lambda a: a.update(tokens={**TOKENS, "SYN:B": b"a" * 16}), "same label token"),
        (lambda a: a.update(tokens={"SYN:A": b"a" * 16}), "no label token for 2 syndromes: SYN:B, SYN:R"),
        (lambda a: a.update(cases={**CASES, b"2" * 16: Case("SYN:Q", "p2")}), "vocabulary: SYN:Q"),
        (lambda a: a.update(layout=Layout(LAYOUT.trained, LAYOUT.rare, 1, 3)), "more numbered splits"),
    ],
)
def test_answers_and_cases_that_do_not_fit_are_refused(change, message):
    arguments = {"rankings": rankings(), "cases": CASES, "tokens": TOKENS, "layout": LAYOUT, "seed": 1}
    change(arguments)
    with pytest.raises(EvaluationError, match=message):
        contributions(**arguments)


def test_the_sum_of_two_owners_wraps_nowhere_and_gives_both_their_weight():
    one = contributions(rankings(), CASES, TOKENS, LAYOUT, seed=1)
    table = summarise(one + one, LAYOUT)
    np.testing.assert_array_equal(table.values, summarise(one, LAYOUT).values)
    # A alone has tests: B, without one, does not pull the macro average down.
    assert table.value("frequent_all", 1) == 0.5
    assert table.value("rare_all", 1) == 0.0
    assert table.value("rare_rare", 1) == 1.0


def test_the_layout_says_where_everything_lies():
    assert LAYOUT.size == 4 * (4 * 1 * 2 + 4 * 2 * 1 + 4 * 2 * 2 + 4 * 2 * 1) + 4 * (2 * 2 + 2 * 1)
    vector = LAYOUT.zeros()
    for i, view in enumerate(LAYOUT.views(vector).values()):
        assert not view.any()
        view += np.uint32(i + 1)
    assert vector.all()
    assert (np.diff(vector.astype(int)) >= 0).all()


def test_the_digest_of_a_layout_changes_with_everything_in_it():
    others = [
        Layout(("SYN:A",), ("SYN:R",), 2, 3),
        Layout(("SYN:A", "SYN:B", "SYN:R"), (), 2, 3),
        Layout(("SYN:A", "SYN:B"), ("SYN:R",), 3, 3),
        Layout(("SYN:A", "SYN:B"), ("SYN:R",), 2, 4),
    ]
    assert len({layout.digest for layout in (LAYOUT, *others)}) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("SYN:B", "SYN:A"), (), 1, 0), "ascending"),
        ((("SYN:A", "SYN:A"), (), 1, 0), "ascending"),
        ((("SYN:A",), ("SYN:A",), 1, 0), "frequent and rare at once: SYN:A"),
        (((), (), 1, -1), "replicates"),
    ],
)
def test_layouts_that_two_silos_could_read_differently_are_refused(arguments, message):
    with pytest.raises(EvaluationError, match=message):
        Layout(*arguments)


def test_a_vector_of_another_layout_is_refused():
    with pytest.raises(EvaluationError, match="another layout"):
        summarise(LAYOUT.zeros()[:-1], LAYOUT)
    with pytest.raises(EvaluationError, match="uint32"):
        LAYOUT.views(LAYOUT.zeros().astype(np.int64))


def test_weights_depend_on_seed_and_patient_only_and_are_poisson():
    np.testing.assert_array_equal(patient_weights(5, "p", 50), patient_weights(5, "p", 100)[:50])
    assert patient_weights(5, "p", 50).tolist() != patient_weights(6, "p", 50).tolist()
    assert patient_weights(5, "p", 50).tolist() != patient_weights(5, "q", 50).tolist()
    drawn = np.concatenate([patient_weights(0, str(i), 1000) for i in range(100)])
    shares = np.bincount(drawn, minlength=4)[:4] / len(drawn)
    np.testing.assert_allclose(shares, [0.36788, 0.36788, 0.18394, 0.06131], atol=0.008)


def test_weights_of_a_known_patient_stay_what_they_are():
    # Silos of different versions must draw the same replicates.
    assert patient_weights(2026, "P001", 12).tolist() == [1, 2, 4, 0, 1, 3, 0, 0, 0, 0, 1, 1]
