"""What FLAKE promises, and what it is known to leak, over the whole path from embeddings to the table."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgestalt.evaluation import Case, Layout, contributions, plaintext_contributions
from fedgestalt.flake import (
    FlakeError,
    Frame,
    Kernel,
    Rankings,
    SiloRows,
    label_token,
    masked_rows,
    photo_handle,
    rotate,
    sort_rows,
)

SPLITS = 4
LABEL_KEY = b"l" * 32
HANDLE_KEY = b"h" * 32

keys = st.binary(min_size=32, max_size=32)
seeds = st.integers(0, 2**32 - 1)
unhurried = settings(max_examples=25, deadline=None)


def unit(rng, n, dim):
    rows = rng.normal(size=(n, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass
class Cohort:
    embeddings: np.ndarray
    syndromes: list
    patients: list
    roles: list
    test_splits: list

    def __len__(self):
        return len(self.roles)

    @property
    def handles(self):
        return [photo_handle(HANDLE_KEY, str(i)) for i in range(len(self))]

    @property
    def tokens(self):
        return [label_token(LABEL_KEY, s) if s else None for s in self.syndromes]

    def upload(self, chosen, frame=None):
        """The rows of some photos: masked by a frame, or plain without one."""
        parts = {
            "tokens": [self.tokens[i] for i in chosen],
            "handles": [self.handles[i] for i in chosen],
            "roles": [self.roles[i] for i in chosen],
            "test_splits": [self.test_splits[i] for i in chosen],
            "splits": SPLITS,
        }
        rows = self.embeddings[chosen]
        return masked_rows(rows, frame=frame, **parts) if frame else sort_rows(rows, **parts)

    def answers(self, owners, frame=None, order=None, budget=1 << 20):
        """Rank with silos as `owners` says; return {(handle, split): tokens in order} over all owners."""
        kernel = Kernel(budget=budget)
        names = sorted(set(owners)) if order is None else order
        for name in names:
            chosen = [i for i in range(len(self)) if owners[i] == name]
            # Through the bytes, as it travels.
            kernel.put(str(name), SiloRows.decode(self.upload(chosen, frame).encode()))
        found = {}
        for name in names:
            rankings = kernel.rankings(str(name))
            for row, split, ranked in zip(rankings.row, rankings.split, rankings.order, strict=True):
                known = [rankings.tokens[t].tobytes() for t in ranked if t < len(rankings.tokens)]
                found[rankings.handles[row].tobytes(), int(split)] = known
        return found


def cohort(seed, n=90, dim=24, frequent=6, rare=4):
    rng = np.random.default_rng(seed)
    number = rng.integers(0, frequent + rare, n)
    embeddings = unit(rng, frequent + rare, dim)[number] * 0.8 + unit(rng, n, dim)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    syndromes, roles, test_splits = [], [], []
    for i in number:
        role = "undiagnosed" if rng.random() < 0.05 else "rotating" if i >= frequent else None
        roles.append(role or ("test" if rng.random() < 0.3 else "train"))
        syndromes.append(None if role == "undiagnosed" else f"SYN:X{i:03d}")
        drawn = [s for s in range(1, SPLITS + 1) if rng.random() < 0.5]
        test_splits.append(drawn if role == "rotating" else [])
    return Cohort(embeddings, syndromes, [f"P{i // 2}" for i in range(n)], roles, test_splits)


owners_of_90 = st.lists(st.integers(0, 3), min_size=90, max_size=90)


@given(keys, st.integers(1, 150), st.integers(0, 30), seeds)
@unhurried
def test_every_frame_is_an_isometry(key, dim, more, seed):
    rows = unit(np.random.default_rng(seed), 5, dim)
    frame = Frame.derive(key, dim, dim + more)
    matrix = frame.matrix()
    assert np.abs(matrix @ matrix.T - np.eye(dim)).max() < 1e-9
    masked = rotate(rows, frame)
    assert np.abs(masked @ masked.T - rows @ rows.T).max() < 1e-9


@given(keys, seeds, owners_of_90, st.integers(0, 8))
@unhurried
def test_rankings_through_any_frame_equal_the_plaintexts(key, seed, owners, more):
    data = cohort(seed)
    plain = data.answers([0] * len(data))
    assert plain
    assert data.answers(owners, Frame.derive(key, 24, 24 + more)) == plain


@given(keys, seeds, owners_of_90, st.permutations([0, 1, 2, 3]), st.integers(1, 100_000))
@unhurried
def test_neither_the_order_of_silos_nor_the_size_of_blocks_changes_a_ranking(
    key, seed, owners, order, budget
):
    owners = [*range(4), *owners[4:]]  # every silo has something
    data, frame = cohort(seed), Frame.derive(key, 24)
    assert data.answers(owners, frame, order, budget) == data.answers(owners, frame)


@given(keys, st.integers(2, 60))
@unhurried
def test_photos_that_tie_exactly_are_ordered_by_token_under_every_frame(key, syndromes):
    near, far = unit(np.random.default_rng(1), 2, 16)
    names = [f"SYN:T{i:02d}" for i in range(syndromes)]
    data = Cohort(
        np.array([*([near, far][i % 2] for i in range(syndromes)), near]),
        [*names, names[0]],
        [str(i) for i in range(syndromes + 1)],
        ["train"] * syndromes + ["test"],
        [[]] * (syndromes + 1),
    )
    answers = data.answers([0] * len(data), Frame.derive(key, 16))
    expected = [sorted(label_token(LABEL_KEY, s) for s in names[i::2]) for i in (0, 1)]
    assert list(answers.values()) == [expected[0] + expected[1]] * SPLITS


@given(keys, seeds, owners_of_90)
@unhurried
def test_contributions_of_any_partition_sum_to_the_central_ones(key, seed, owners):
    data = cohort(seed)
    layout = Layout.of(data.syndromes, data.roles, SPLITS, 8)
    tokens = {s: label_token(LABEL_KEY, s) for s in (*layout.trained, *layout.rare)}
    cases = [
        {
            data.handles[i]: Case(data.syndromes[i], data.patients[i])
            for i in range(len(data))
            if owners[i] == name and data.roles[i] in ("test", "rotating")
        }
        for name in range(4)
    ]
    kernel, uploads = Kernel(), []
    for name in range(4):
        chosen = np.flatnonzero(np.array(owners) == name)
        uploads.append(data.upload(chosen, Frame.derive(key, 24)))
        kernel.put(str(name), uploads[-1])
    # Masks that cancel modulo 2^32 stand for secure aggregation, whose sum is the same sum.
    masks = np.random.default_rng(seed).integers(0, 2**32, size=(4, layout.size), dtype=np.uint32)
    masks[3] = -masks[:3].sum(axis=0, dtype=np.uint32)
    total = layout.zeros()
    for name in range(4):
        answer = Rankings.decode(kernel.rankings(str(name)).encode(), uploads[name].test, SPLITS)
        total += contributions(answer, cases[name], tokens, layout, seed=11) + masks[name]
    central = plaintext_contributions(
        data.embeddings, data.syndromes, data.patients, data.roles, data.test_splits, layout, seed=11
    )
    assert central.any()
    np.testing.assert_array_equal(total, central)


def test_the_wrong_key_gives_chance():
    # 300 tests, each nearest to its own gallery photo. Ranks under another frame are uniform in 0..1 with
    # standard deviation 1 / sqrt(12); the bound is five standard errors, the right key is far outside of it.
    rng = np.random.default_rng(0)
    gallery = unit(rng, 300, 128)
    tests = gallery + 0.3 * unit(rng, 300, 128)
    tests /= np.linalg.norm(tests, axis=1, keepdims=True)
    right, wrong = Frame.derive(b"r" * 32, 128), Frame.derive(b"w" * 32, 128)

    def mean_rank(frame):
        products = rotate(tests, frame) @ rotate(gallery, right).T
        ranks = (products > np.diagonal(products)[:, None]).sum(axis=1)
        return (ranks / 299).mean()

    bound = 5 / np.sqrt(12 * 300)
    assert mean_rank(right) < 0.001
    assert abs(mean_rank(wrong) - 0.5) < bound


def test_the_kernel_refuses_rows_of_two_keys_instead_of_comparing_them():
    data = cohort(0)
    kernel = Kernel()
    kernel.put("east", data.upload(range(45), Frame.derive(b"r" * 32, 24)))
    with pytest.raises(FlakeError, match="frame of this epoch"):
        kernel.put("west", data.upload(range(45, 90), Frame.derive(b"w" * 32, 24)))


@given(keys, keys)
@unhurried
def test_tokens_of_one_epoch_say_nothing_about_another(first, second):
    curies = [f"OMIM:{i}" for i in range(100000, 100030)]
    tokens = [label_token(first, c) for c in curies], [label_token(second, c) for c in curies]
    assert len(set(tokens[0])) == 30
    assert first == second or not set(tokens[0]) & set(tokens[1])


# The leak, measured: what whoever knows some embeddings in clear learns of all others.


def recover(known, known_masked, masked):
    """The known-input attack: the least-squares embeddings of masked rows, given known pairs."""
    solved, *_ = np.linalg.lstsq(known_masked.T, masked.T, rcond=None)
    return (known.T @ solved).T


def mean_cosine(found, truth):
    return float((np.einsum("ij,ij->i", found, truth) / np.linalg.norm(found, axis=1)).mean())


@pytest.mark.parametrize("known", [16, 32, 64, 128])
def test_known_rows_reveal_the_others_by_the_square_root_of_their_share(known):
    # 128 numbers per embedding: sqrt(known / 128), and everything once as many rows are known as numbers.
    rng = np.random.default_rng(4)
    frame = Frame.derive(b"a" * 32, 128)
    rows, others = unit(rng, known, 128), unit(rng, 300, 128)
    found = recover(rows, rotate(rows, frame), rotate(others, frame))
    assert mean_cosine(found, others) == pytest.approx(np.sqrt(known / 128), abs=0.03)


def test_embeddings_of_decaying_spectrum_are_revealed_by_far_fewer():
    # Like real embeddings, whose variance lies in few directions; more than a quarter of 512 gives all away.
    rng = np.random.default_rng(5)
    spectrum = np.exp(-np.arange(512) / 40)
    rows = rng.normal(size=(500, 512)) * spectrum
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    masked = rotate(rows, Frame.derive(b"a" * 32, 512))
    cosines = [mean_cosine(recover(rows[:m], masked[:m], masked[300:]), rows[300:]) for m in (32, 128)]
    assert 0.6 < cosines[0] < 0.9
    assert cosines[1] > 0.97


def test_a_frame_hides_the_number_of_features_only_until_there_are_as_many_rows():
    masked = rotate(unit(np.random.default_rng(6), 200, 50), Frame.derive(b"a" * 32, 50, 80))
    assert np.linalg.matrix_rank(masked[:40]) == 40
    assert np.linalg.matrix_rank(masked) == 50


def test_one_joint_frame_gives_the_papers_mean_of_cosines_and_withstands_more_known_rows_than_its_twelve():
    # The paper rotates each of twelve encodings by itself (512 -> 600, here 16 -> 20) and averages twelve
    # Gram matrices. The same mean comes from one frame over their concatenation, and sixteen known patients,
    # which open every separate frame, leave the joint one mostly closed.
    rng = np.random.default_rng(7)
    encodings = [unit(rng, 80, 16) for _ in range(12)]
    frames = [Frame.derive(i.to_bytes(32, "big"), 16, 20) for i in range(12)]
    separate = [rotate(e, f) for e, f in zip(encodings, frames, strict=True)]
    joined = np.concatenate(encodings, axis=1) / np.sqrt(12)
    joint = rotate(joined, Frame.derive(b"j" * 32, 192, 240))
    np.testing.assert_allclose(np.mean([m @ m.T for m in separate], axis=0), joint @ joint.T, atol=1e-13)

    opened = [recover(e[:16], m[:16], m[16:]) for e, m in zip(encodings, separate, strict=True)]
    assert mean_cosine(np.concatenate(opened, axis=1) / np.sqrt(12), joined[16:]) > 0.999
    assert mean_cosine(recover(joined[:16], joint[:16], joint[16:]), joined[16:]) < 0.4
