import json
from itertools import pairwise

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from fedgestalt.flake import FlakeError, Frame, GalleryRows, UndiagnosedRows, rotate
from fedgestalt.flake.chance import Chance, Tail, closing_triples
from fedgestalt.flake.discovery import average_linkage, discover

KEY = bytes(range(32))
DIM = 64
OWNERS = ("east", "north", "south", "west")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def handles(owner, count, start=0):
    texts = [f"{owner}{i:04d}".encode().ljust(16, b"\0") for i in range(start, start + count)]
    return np.frombuffer(b"".join(texts), np.uint8).reshape(count, 16)


def tokens(numbers):
    return np.frombuffer(b"".join(int(n).to_bytes(16, "big") for n in numbers), np.uint8).reshape(-1, 16)


@pytest.fixture(scope="module")
def gallery():
    """Diagnosed rows of four owners: strangers unless they share a token."""
    rng = np.random.default_rng(5)
    made = {}
    for owner in OWNERS:
        rows = unit(rng.standard_normal((60, DIM)))
        made[owner] = GalleryRows(rows, tokens(range(60)), handles(owner, 60), np.ones(60, np.uint32))
    return made


@pytest.fixture(scope="module")
def chance(gallery):
    return Chance.measure(gallery)


def undiagnosed(planted, seed=2, strangers=8, spread=0.08):
    """Strangers for all owners, and one planted cluster with so many cases per owner, first among its handles."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal(DIM)
    made = {}
    for owner in OWNERS:
        alike = centre + spread * rng.standard_normal((planted.get(owner, 0), DIM))
        rows = unit(np.concatenate([alike, rng.standard_normal((strangers, DIM))]))
        made[owner] = UndiagnosedRows(rows, handles(owner, len(rows)))
    return made


def planted_handles(owner, count):
    return tuple(h.tobytes() for h in handles(owner, count))


def test_a_group_of_three_owners_is_found_and_nothing_else(chance):
    found = discover(undiagnosed({"east": 1, "north": 2, "west": 1}), chance, key=KEY)
    assert [cluster.members for cluster in found] == [
        (
            *(("east", h) for h in planted_handles("east", 1)),
            *(("north", h) for h in planted_handles("north", 2)),
            *(("west", h) for h in planted_handles("west", 1)),
        )
    ]


def test_a_group_of_two_owners_is_never_told_however_tight(chance):
    assert discover(undiagnosed({"east": 5, "north": 5}, spread=0.0), chance, key=KEY) == []


def test_more_owners_can_be_asked_for(chance):
    rows = undiagnosed({"east": 2, "north": 2, "west": 2})
    assert len(discover(rows, chance, key=KEY, min_owners=3)) == 1
    assert discover(rows, chance, key=KEY, min_owners=4) == []


def test_strangers_make_no_more_clusters_than_are_expected_by_chance():
    # In few dimensions what is alike to one is alike to the others, so that triples decide and not pairs.
    rng = np.random.default_rng(7)
    strangers = {o: unit(rng.standard_normal((100, 5))) for o in OWNERS}
    measured = Chance.measure(
        {
            o: GalleryRows(strangers[o], tokens(range(100)), handles(o, 100), np.ones(100, np.uint32))
            for o in OWNERS
        }
    )
    draws, expected, told = 60, 2.0, 0
    for _ in range(draws):
        rows = {o: UndiagnosedRows(unit(rng.standard_normal((12, 5))), handles(o, 12)) for o in OWNERS}
        told += len(discover(rows, measured, key=KEY, expected=expected))
    # Nothing at all would mean a cut that is far too strict.
    assert 0 < told <= expected * draws


def test_an_owner_is_told_its_own_handles_and_bands_only(chance):
    (cluster,) = discover(undiagnosed({"east": 1, "north": 2, "west": 4}), chance, key=KEY)
    finding = cluster.for_owner("north")
    assert finding.mine == planted_handles("north", 2)
    assert (finding.owners, finding.cases) == ((3, 4), (6, 10))
    assert 1 <= finding.cohesion <= 3
    told = json.dumps(finding.to_json())
    assert all(h.hex() not in told for o, h in cluster.members if o != "north")
    assert all(owner not in told for owner in OWNERS)
    with pytest.raises(FlakeError, match="south has no case"):
        cluster.for_owner("south")


def test_a_finding_survives_its_json_and_a_malformed_one_is_refused(chance):
    (cluster,) = discover(undiagnosed({"east": 1, "north": 2, "west": 4}), chance, key=KEY)
    finding = cluster.for_owner("west")
    told = json.loads(json.dumps(finding.to_json()))
    assert type(finding).from_json(told) == finding
    for key, value in (
        ("handle", "00"),
        ("mine", []),
        ("cohesion", 4),
        ("owners", [4, 3]),
        ("cases", "many"),
    ):
        with pytest.raises(FlakeError, match=key):
            type(finding).from_json({**told, key: value})
    with pytest.raises(FlakeError, match="fields"):
        type(finding).from_json({**told, "peer": "east"})


def test_owners_and_epochs_have_handles_of_their_own_for_one_cluster(chance):
    rows = undiagnosed({"east": 1, "north": 1, "west": 1})
    (now,) = discover(rows, chance, key=KEY)
    (again,) = discover(rows, chance, key=KEY)
    (later,) = discover(rows, chance, key=bytes(32))
    names = [c.handle(o) for c in (now, later) for o in c.owners]
    assert len(set(names)) == 6
    assert again == now


def test_the_strongest_cluster_comes_first_and_in_the_nearer_band(chance):
    loose = undiagnosed({"east": 1, "north": 1, "south": 1}, seed=3, strangers=3, spread=1.2)
    tight = undiagnosed({"east": 1, "north": 1, "south": 1}, seed=4, strangers=3, spread=0.01)
    rows = {
        owner: UndiagnosedRows(
            np.concatenate([loose[owner].rows, tight[owner].rows]), handles(owner, 2 * len(loose[owner].rows))
        )
        for owner in OWNERS
    }
    first, second = discover(rows, chance, key=KEY, expected=0.5)
    assert {h for _, h in first.members} == {handles(o, 1, 4).tobytes() for o in OWNERS[:3]}
    assert first.cohesion < second.cohesion


def test_the_frame_and_the_order_of_rows_and_owners_change_nothing(gallery):
    frame = Frame.derive(KEY, DIM, 71)
    rows = undiagnosed({"east": 2, "north": 1, "west": 3}, spread=0.2)
    turned = {
        owner: UndiagnosedRows(rotate(part.rows, frame)[::-1], part.handles[::-1])
        for owner, part in reversed(rows.items())
    }
    turned_gallery = {
        owner: GalleryRows(rotate(part.rows, frame), part.tokens, part.handles, part.splits)
        for owner, part in reversed(gallery.items())
    }
    plain = discover(rows, Chance.measure(gallery), key=KEY, expected=3.0)
    assert plain
    assert discover(turned, Chance.measure(turned_gallery), key=KEY, expected=3.0) == plain


def test_a_gallery_too_small_to_show_that_a_likeness_is_rare_finds_nothing(gallery):
    few = {
        owner: GalleryRows(part.rows[:2], part.tokens[:2], part.handles[:2], part.splits[:2])
        for owner, part in gallery.items()
    }
    rows = undiagnosed({"east": 1, "north": 1, "west": 1}, spread=0.0)
    assert discover(rows, Chance.measure(few), key=KEY) == []
    assert discover(rows, Chance.measure({}), key=KEY) == []


def test_more_undiagnosed_than_diagnosed_do_not_end_discovery(chance):
    rows = undiagnosed({"east": 1, "north": 1, "west": 1}, strangers=150)
    assert chance.triples.total < 4 * 150**3 * 0.3  # rarer than anything that the gallery can show
    (cluster,) = discover(rows, chance, key=KEY)
    assert cluster.owners == ("east", "north", "west")


def test_chance_counts_every_pair_and_triple_of_strangers():
    rng = np.random.default_rng(2)
    rows = {o: unit(rng.standard_normal((7, 3))) for o in OWNERS}
    labels = {o: rng.integers(0, 4, 7) for o in OWNERS}
    measured = Chance.measure(
        {o: GalleryRows(rows[o], tokens(labels[o]), handles(o, 7), np.ones(7, np.uint32)) for o in OWNERS}
    )
    together = np.concatenate([rows[o] for o in OWNERS])
    together = unit(together - together.mean(axis=0))
    alike = together @ together.T
    owner, label = np.repeat(range(4), 7), np.concatenate([labels[o] for o in OWNERS])
    least = [
        min(alike[i, j], alike[i, k], alike[j, k])
        for i in range(28)
        for j in range(i)
        for k in range(j)
        if len({owner[i], owner[j], owner[k]}) == 3 and len({label[i], label[j], label[k]}) == 3
    ]
    pairs = [
        alike[i, j] for i in range(28) for j in range(i) if owner[i] != owner[j] and label[i] != label[j]
    ]
    for tail, counted in ((measured.triples, least), (measured.pairs, pairs)):
        assert tail.total == tail.reached[-1] == len(counted)
        for value in (0.9, 0.5, 0.1):
            assert tail.probability(value) == (1 + sum(x >= value for x in counted)) / (1 + len(counted))
        for probability in (0.02, 0.1, 0.3):
            cut = tail.cut(probability)
            assert tail.probability(cut) <= probability < tail.probability(cut - 1e-9)


def test_counting_stops_early_without_becoming_too_bold(gallery):
    whole, part = Chance.measure(gallery).triples, Chance.measure(gallery, most_pairs=2_000).triples
    shared = len(part.reached)
    assert 0 < shared < len(whole.reached)
    assert np.array_equal(part.reached, whole.reached[:shared])
    assert part.probability(float(whole.likeness[shared])) == 1.0
    assert part.cut(1.0) == part.likeness[-1]


def test_beyond_what_was_counted_the_tail_goes_on_exponentially_and_never_rises():
    rng = np.random.default_rng(3)
    scale, total = 0.05, 100_000
    likeness = np.sort(rng.exponential(scale, total))[::-1][:2_000]
    tail = Tail(likeness, np.arange(1, 2_001), total)
    for probability in (1e-6, 1e-8):
        # A hundred peaks give the scale to about a tenth.
        assert tail.cut(probability) == pytest.approx(-scale * np.log(probability), rel=0.1)
        assert tail.probability(tail.cut(probability)) == pytest.approx(probability, rel=1e-6)
    values = [tail.probability(x) for x in np.linspace(likeness[-1], 2 * likeness[0], 500)]
    assert all(a >= b for a, b in pairwise(values))
    few = Tail(likeness[:50], np.arange(1, 51), total)
    assert few.cut(1e-8) == np.inf


@pytest.mark.parametrize("seed", range(5))
def test_average_linkage_cuts_as_scipy_does(seed):
    rng = np.random.default_rng(seed)
    rows = unit(rng.standard_normal((40, 4)))
    alike = rows @ rows.T
    for cut in (0.9, 0.6, 0.3):
        distance = 1 - alike
        np.fill_diagonal(distance, 0)
        labels = fcluster(linkage(squareform(distance, checks=False), "average"), 1 - cut, "distance")
        expected = {tuple(np.flatnonzero(labels == label)) for label in set(labels)}
        assert {tuple(group) for group in average_linkage(alike, cut)} == expected


def test_triples_close_at_their_least_similarity():
    alike = np.array([[1, 0.9, 0.5, 0.0], [0.9, 1, 0.7, 0.4], [0.5, 0.7, 1, 0.6], [0.0, 0.4, 0.6, 1]])
    everyone = np.ones((4, 4), dtype=bool)
    assert list(closing_triples(alike, everyone, 0.1)) == [(0.5, 1), (0.4, 1)]
    assert list(closing_triples(alike, everyone, 0.45)) == [(0.5, 1)]
    without = everyone.copy()
    without[0, 2] = without[2, 0] = False
    assert list(closing_triples(alike, without, 0.1)) == [(0.4, 1)]


def test_arguments_that_would_weaken_the_promise_are_refused(chance):
    rows = undiagnosed({})
    for bad, message in (
        ({"key": b"short"}, "32 bytes"),
        ({"min_owners": 2}, "at least 3 owners"),
        ({"expected": 0.0}, "expected"),
    ):
        with pytest.raises(FlakeError, match=message):
            discover(rows, chance, **{"key": KEY, **bad})
    rows["east"] = UndiagnosedRows(np.eye(DIM + 1), handles("east", DIM + 1))
    with pytest.raises(FlakeError, match="width"):
        discover(rows, chance, key=KEY)
