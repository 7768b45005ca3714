"""Names, seeds, schedule, class weights and augmentation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedgestalt.training.augment import make_batch
from fedgestalt.training.config import Augmentation, Schedule, ScheduleType
from fedgestalt.training.naming import extractor_tensors, is_head, is_statistic, ordered
from fedgestalt.training.schedule import multiplier
from fedgestalt.training.seeds import generator, round_seed, start_seed
from fedgestalt.training.steps import class_weights

SECRET = b"s" * 16


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=8)))
def test_the_order_of_names_is_that_of_sorted_which_secure_aggregation_uses(names: set[str]) -> None:
    assert list(ordered(names)) == sorted(names)


def test_names_say_what_a_tensor_is() -> None:
    assert is_statistic("extractor.bn1.running_mean")
    assert is_statistic("extractor.bn1.running_var")
    assert not is_statistic("extractor.bn1.weight")
    assert is_head("head.weight")
    assert not is_head("extractor.head.weight")
    assert extractor_tensors({"extractor.a.b": 1, "head.weight": 2}) == {"a.b": 1}


def test_a_local_seed_depends_on_secret_roster_member_and_communication_round() -> None:
    usual = round_seed(SECRET, b"roster", "r50", 3)
    others = {
        round_seed(b"t" * 16, b"roster", "r50", 3),
        round_seed(SECRET, b"rosteR", "r50", 3),
        round_seed(SECRET, b"roster", "r100", 3),
        round_seed(SECRET, b"roster", "r50", 4),
        round_seed(SECRET, b"rosterr", "50", 3),
    }
    assert usual == round_seed(SECRET, b"roster", "r50", 3)
    assert len(usual) == 32
    assert len(others | {usual}) == 6


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        round_seed(b"short", b"roster", "r50", 1)


def test_the_start_depends_on_public_seed_and_member_only() -> None:
    assert start_seed(b"p", "a") == start_seed(b"p", "a")
    assert (
        len({start_seed(b"p", "a"), start_seed(b"q", "a"), start_seed(b"p", "b"), start_seed(b"pa", "")}) == 4
    )


def test_a_generator_is_a_function_of_its_seed() -> None:
    drawn = generator(SECRET).integers(0, 1 << 62, 4)
    np.testing.assert_array_equal(drawn, generator(SECRET).integers(0, 1 << 62, 4))
    assert (drawn != generator(b"t" * 16).integers(0, 1 << 62, 4)).any()


def test_class_weights_balance_the_classes_that_a_silo_has() -> None:
    labels = np.array([0, 0, 0, 2], dtype=np.int64)
    weights = class_weights(labels, 4).numpy()
    np.testing.assert_allclose(weights, [4 / (2 * 3), 0.0, 2.0, 0.0], rtol=1e-6)
    assert weights[labels].mean() == pytest.approx(1.0)


def test_the_schedule_warms_up_then_follows_half_a_cosine_over_the_whole_run() -> None:
    cosine = Schedule(ScheduleType.COSINE, warmup_epochs=2.0)
    assert multiplier(cosine, 1.0, 12) == pytest.approx(0.5)
    assert multiplier(cosine, 2.0, 12) == pytest.approx(1.0)
    assert multiplier(cosine, 7.0, 12) == pytest.approx(0.5)
    assert multiplier(cosine, 12.0, 12) == pytest.approx(1e-3)
    assert multiplier(Schedule(), 9.0, 12) == 1.0


def test_the_trapezoid_stays_and_decays_linearly_at_the_end() -> None:
    trapezoid = Schedule(ScheduleType.TRAPEZOID, warmup_epochs=2.0, decay_epochs=4.0)
    found = [multiplier(trapezoid, epoch, 12) for epoch in (1.0, 2.0, 8.0, 9.0, 11.0, 12.0)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.25, 1e-3])


def test_its_decay_takes_a_fifth_of_the_run_and_what_the_warm_up_leaves_of_a_short_one() -> None:
    assert multiplier(Schedule(ScheduleType.TRAPEZOID), 9.0, 10) == pytest.approx(0.5)
    assert multiplier(Schedule(ScheduleType.TRAPEZOID, 9.5), 9.75, 10) == pytest.approx(0.5)


@given(
    kind=st.sampled_from(ScheduleType),
    warmup=st.floats(0, 10),
    decay=st.none() | st.floats(0.001, 200),
    part=st.floats(0, 1),
    epochs=st.integers(1, 100),
)
def test_the_multiplier_never_exceeds_one_which_the_bound_relies_on(
    kind: ScheduleType, warmup: float, decay: float | None, part: float, epochs: int
) -> None:
    schedule = Schedule(kind, min(warmup, epochs), decay)
    assert 0 < multiplier(schedule, part * epochs, epochs) <= 1.0


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 112, 112, 3)).astype(np.uint8)
STILL = Augmentation(flip=False, shift=0, brightness=0.0, noise=0.0)


def batch(augmentation: Augmentation, seed: int = 0) -> torch.Tensor:
    return make_batch(IMAGES, np.array([4, 1, 1]), augmentation, np.random.default_rng(seed))


def test_without_augmentation_a_batch_is_the_normalised_photos() -> None:
    expected = (IMAGES[[4, 1, 1]].astype(np.float64) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(batch(STILL).numpy(), expected.transpose(0, 3, 1, 2), atol=1e-6)


def test_a_batch_has_the_network_s_shape_type_and_memory_layout() -> None:
    images = batch(Augmentation())
    assert images.shape == (3, 3, 112, 112)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_augmentation_is_a_function_of_the_generator() -> None:
    torch.manual_seed(1)
    one = batch(Augmentation(), seed=5)
    torch.manual_seed(2)
    assert torch.equal(one, batch(Augmentation(), seed=5))
    assert not torch.equal(one, batch(Augmentation(), seed=6))
    assert not torch.equal(one[1], one[2]), "two copies of one photo differ"


def test_a_shift_repeats_the_edge_and_stays_within_its_strength() -> None:
    plain = batch(STILL).numpy()
    for seed in range(20):
        moved = batch(Augmentation(flip=False, shift=2, brightness=0, noise=0), seed).numpy()
        padded = np.pad(plain[0], ((0, 0), (2, 2), (2, 2)), mode="edge")
        windows = [padded[:, y : y + 112, x : x + 112] for y in range(5) for x in range(5)]
        assert any(np.allclose(moved[0], window, atol=1e-6) for window in windows)


def test_flips_mirror_about_half_of_the_photos() -> None:
    plain = batch(STILL).numpy()[0]
    mirrored = 0
    for seed in range(60):
        image = batch(Augmentation(flip=True, shift=0, brightness=0, noise=0), seed).numpy()[0]
        same, turned = np.allclose(image, plain, atol=1e-6), np.allclose(image, plain[:, :, ::-1], atol=1e-6)
        assert same != turned
        mirrored += turned
    assert 15 < mirrored < 45


def test_noise_and_brightness_have_the_stated_strength() -> None:
    plain = batch(STILL).numpy()
    noise = batch(Augmentation(flip=False, shift=0, brightness=0, noise=0.05)).numpy() - plain
    assert noise.std() == pytest.approx(0.05, rel=0.02)
    assert abs(noise.mean()) < 1e-3
    bright = batch(Augmentation(flip=False, shift=0, brightness=0.2, noise=0)).numpy()
    gain, offset = np.polyfit(plain[0].ravel(), bright[0].ravel(), 1)
    assert 0.8 <= gain <= 1.2
    assert abs(offset) <= 0.1 + 1e-6
