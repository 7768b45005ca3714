import numpy as np
import pytest
import torch
from torch.nn import functional

from fedgestalt.models.heads import Head, LossConfig, initial_head, load_initial_head


def test_softmax_is_a_linear_layer() -> None:
    head = Head(5, 8)
    x = torch.randn(3, 8)
    torch.testing.assert_close(head(x, torch.tensor([0, 1, 2])), functional.linear(x, head.weight, head.bias))


def test_cosface_takes_the_margin_off_the_true_class_only() -> None:
    head = Head(5, 8, LossConfig("CosFace", scale=20, margin=0.3))
    x, labels = torch.randn(3, 8), torch.tensor([4, 0, 2])
    cosines = functional.cosine_similarity(x[:, None], head.weight[None], dim=2)
    torch.testing.assert_close(head(x), 20 * cosines)
    torch.testing.assert_close(head(x, labels), 20 * (cosines - 0.3 * functional.one_hot(labels, 5)))
    assert "bias" not in head.state_dict()


def test_cosface_ignores_lengths() -> None:
    head = Head(5, 8, LossConfig("CosFace"))
    x = torch.randn(3, 8)
    torch.testing.assert_close(head(x), head(7 * x))


def test_every_silo_gets_the_same_first_head() -> None:
    a = initial_head(60, 256, b"round 1")
    assert a.dtype == np.float32
    np.testing.assert_array_equal(a, initial_head(60, 256, b"round 1"))
    assert not np.array_equal(a, initial_head(60, 256, b"round 2"))
    assert abs(np.linalg.norm(a, axis=1).mean() - 1) < 0.02
    head = Head(60, 256)
    load_initial_head(head, b"round 1")
    np.testing.assert_array_equal(head.weight.detach().numpy(), a)
    assert head.bias is not None
    assert not head.bias.any()


def test_the_first_head_is_pinned() -> None:
    """It must not change between versions within a round's life: all silos derive it on their own."""
    np.testing.assert_allclose(
        initial_head(1, 3, b"seed")[0],
        [-1.3009752035140991, 0.06332080811262131, 0.15674534440040588],
        rtol=1e-6,
    )


@pytest.mark.parametrize("bad", [{"type": "ArcFace"}, {"scale": 0}, {"margin": 1.0}, {"margin": -0.1}])
def test_bad_losses_are_refused_by_field(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"loss.{next(iter(bad))}"):
        LossConfig(**bad)  # type: ignore[arg-type]
