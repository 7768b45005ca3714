"""Local training of the small network: what travels, what is kept, what is repeatable."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from fedgestalt.training.bounds import check_update, update_bounds
from fedgestalt.training.checkpoint import load_checkpoint, save_checkpoint
from fedgestalt.training.config import Member
from fedgestalt.training.errors import CheckpointError, DataError, NonFiniteError
from fedgestalt.training.fields import ConfigError
from fedgestalt.training.loop import MemberTrainer, TrainingData
from fedgestalt.training.module import Float32, build_member, difference, export, load
from fedgestalt.training.naming import is_head, is_statistic

from .toys import PUBLIC, config, photos, trainer


def bits(model: dict[str, Float32]) -> dict[str, bytes]:
    return {name: tensor.tobytes() for name, tensor in model.items()}


def test_a_separable_problem_is_learnt() -> None:
    data = photos(16)
    settings = config({"optimizer": {"learningRate": 0.002, "headLearningRate": 0.01}}, communicationRounds=4)
    taught = trainer(settings, data)
    losses = [taught.train(t) for t in range(1, 5)]
    assert losses[-1] < 0.5 * losses[0]
    images = torch.from_numpy(photos(16, seed=9).images).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    taught.module.train()  # batch statistics: running ones lag behind so few steps
    with torch.no_grad():
        logits = taught.module(images, torch.zeros(16, dtype=torch.int64))
    assert (logits.argmax(1).numpy() == data.labels).mean() >= 0.9


@pytest.mark.parametrize("classifier", ["Shared", "Local", "Fixed"])
@pytest.mark.parametrize("batch_norm", ["Average", "Frozen"])
def test_what_travels_depends_on_classifier_and_batch_norm(classifier: str, batch_norm: str) -> None:
    one = trainer(config(classifier=classifier, batchNorm=batch_norm), photos())
    module, names = one.module, one.names
    assert list(names) == sorted(names)
    assert any(map(is_head, names)) == (classifier == "Shared")
    assert any(map(is_statistic, names)) == (batch_norm == "Average")
    assert not any("num_batches_tracked" in name for name in names)
    parameters = {name for name, _ in module.named_parameters() if not is_head(name)}
    assert parameters <= set(names)


def test_frozen_statistics_and_a_local_head_stay_where_they_are() -> None:
    frozen = trainer(config(batchNorm="Frozen", classifier="Local"), photos())
    before = {n: t.clone() for n, t in frozen.module.state_dict().items()}
    frozen.train(1)
    after = frozen.module.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before if is_statistic(n))
    assert not torch.equal(before["head.weight"], after["head.weight"])
    assert "head.weight" not in frozen.export()


def test_a_local_head_has_only_the_silo_s_own_classes() -> None:
    data = dataclasses.replace(photos(8, classes=2), classes=("a", "b", "c"))
    data = TrainingData(data.images, data.labels * 2, data.classes)
    local, shared = trainer(config(classifier="Local"), data), trainer(config(), data)
    assert local.module.state_dict()["head.weight"].shape[0] == 2
    assert shared.module.state_dict()["head.weight"].shape[0] == 3
    own = data.own_classes()
    assert own.classes == ("a", "c")
    assert [own.classes[i] for i in own.labels] == [data.classes[i] for i in data.labels]


@pytest.mark.parametrize("loss", ["Softmax", "CosFace"])
def test_a_fixed_head_is_the_same_public_one_in_every_silo_and_never_moves(loss: str) -> None:
    """Silos without a common syndrome still agree where each syndrome of the vocabulary belongs."""
    classes = ("a", "b", "c", "d")
    silos = []
    for offset in (0, 2):
        data = photos(8, classes=2, seed=offset)
        own = TrainingData(data.images, data.labels + offset, classes)
        silos.append(trainer(config({"loss": {"type": loss}}, classifier="Fixed"), own))
    heads = [{n: t.clone() for n, t in silo.module.head.state_dict().items()} for silo in silos]
    assert heads[0]["weight"].shape[0] == len(classes)
    for silo in silos:
        before = bits(silo.export())
        silo.train(1)
        assert bits(silo.export()) != before
        assert not any("head." in name for name in silo.checkpoint(1).tensors if name.startswith("exp_avg"))
        for name, tensor in silo.module.head.state_dict().items():
            assert torch.equal(tensor, heads[0][name]), name


def test_training_is_a_function_of_the_seeds() -> None:
    def run(secret: bytes) -> dict[str, bytes]:
        torch.manual_seed(hash(secret) % 1000)  # must not matter
        one = trainer(config(), photos(), secret)
        one.train(1)
        return bits(one.export())

    first = run(b"s" * 32)
    assert first == run(b"s" * 32)
    assert first != run(b"t" * 32)


def test_the_start_is_the_same_for_every_silo_and_leaves_torch_s_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one = trainer(config(), photos(seed=1), b"a" * 32)
    assert torch.equal(torch.rand(2), expected)
    other = trainer(config(), photos(seed=2), b"b" * 32)
    assert bits(one.export()) == bits(other.export())


def test_optimizer_state_is_kept_when_the_global_model_is_loaded() -> None:
    kept = trainer(config(), photos())
    kept.train(1)
    model = kept.export()
    anew = trainer(config(), photos())
    for one in (kept, anew):
        one.load(model)
        one.train(2)
    assert bits(kept.export()) != bits(anew.export()), "the moments of round 1 count in round 2"
    steps = {name: t for name, t in kept.checkpoint(2).tensors.items() if name.startswith("step/")}
    assert steps
    assert all(float(step) == 2 * kept.steps_per_round for step in steps.values())


@pytest.mark.parametrize("classifier", ["Shared", "Local", "Fixed"])
def test_a_restored_checkpoint_continues_bit_for_bit(tmp_path: Path, classifier: str) -> None:
    whole = trainer(config(classifier=classifier), photos())
    whole.train(1)
    save_checkpoint(tmp_path / "c", "small", "roster", whole.checkpoint(1))
    local = whole.export()
    again = trainer(config(classifier=classifier), photos())
    checkpoint = load_checkpoint(tmp_path / "c", "small", "roster")
    assert checkpoint is not None
    assert checkpoint.t == 1
    again.restore(checkpoint)
    assert bits(again.export()) == bits(local)
    for one in (whole, again):
        one.load(local)
        one.train(2)
    state, other = whole.module.state_dict(), again.module.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)


def test_a_checkpoint_of_another_roster_is_not_used(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "small", "roster", trainer(config(), photos()).checkpoint(1))
    assert load_checkpoint(tmp_path, "small", "another roster") is None
    assert load_checkpoint(tmp_path, "other member", "roster") is None


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "small", "roster", trainer(config(), photos()).checkpoint(1))
    path = tmp_path / "small.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"small\.safetensors is damaged"):
        load_checkpoint(tmp_path, "small", "roster")
    assert [p.name for p in tmp_path.iterdir()] == ["small.safetensors"]


def test_a_frozen_member_is_not_trained() -> None:
    still = {"name": "still", "extractor": "resnet_s16", "trainable": False}
    members = [
        {"name": "small", "extractor": "resnet_s16"},
        {**still, "initialWeights": {"name": "resnet_s16-faces"}},
    ]
    assert [m.name for m in config(members=members).trainable] == ["small"]


def test_steps_are_capped_by_max_steps() -> None:
    assert trainer(config(localEpochs=5), photos(9)).steps_per_round == 10
    assert trainer(config({"maxSteps": 3}, localEpochs=5), photos(9)).steps_per_round == 3


def test_a_real_update_stays_within_its_public_bound() -> None:
    settings = config({"maxSteps": 4, "optimizer": {"type": "AdamW", "weightDecay": 0.1}}, localEpochs=2)
    one = trainer(settings, photos())
    model, last = one.export(), None
    for t in (1, 2):
        one.load(model)
        one.train(t)
        delta = difference(one.export(), model)
        bounds = update_bounds(settings.members[0], model, last)
        check_update(delta, bounds)
        with pytest.raises(Exception, match="beyond its bound"):
            check_update(delta, {name: bound * 1e-4 for name, bound in bounds.items()})
        last, model = delta, one.export()


def test_the_proximal_term_keeps_the_model_near_the_global_one() -> None:
    def moved(strategy: dict[str, object]) -> float:
        one = trainer(config(strategy=strategy, localEpochs=4), photos())
        start = one.export()
        one.train(1)
        delta = difference(one.export(), start)
        return sum(float((d**2).sum()) for n, d in delta.items() if not is_statistic(n))

    assert moved({"type": "FedProx", "mu": 100.0}) < 0.7 * moved({"type": "FedAvg"})
    assert moved({"type": "FedProx", "mu": 0.0}) == moved({"type": "FedAvg"})


def test_a_diverging_loss_is_an_error_that_names_member_and_round() -> None:
    one = trainer(config(), photos())
    load(one.module, {"head.bias": np.full(2, np.nan, np.float32)})
    with pytest.raises(NonFiniteError, match="member small, communication round 1"):
        one.train(1)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (photos(1), "BatchNorm needs 2"),
        (photos(4, classes=1), "two syndromes"),
        (TrainingData(np.zeros((4, 112, 112), np.uint8), np.zeros(4, np.int64), ("a", "b")), "uint8"),
    ],
)
def test_photos_that_cannot_be_trained_on_are_refused(data: TrainingData, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        trainer(config(), data)


def test_a_global_model_of_another_configuration_is_refused() -> None:
    one = trainer(config(), photos())
    model = one.export()
    with pytest.raises(ValueError, match=r"head\.weight"):
        one.load({name: t for name, t in model.items() if name != "head.weight"})
    with pytest.raises(ValueError, match="does not fit"):
        one.load({**model, "head.weight": np.zeros((7, 7), np.float32)})


def test_an_unknown_extractor_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="resnet_s16"):
        build_member(Member("m", "resnet-152"), 2, PUBLIC)


def test_exported_tensors_are_copies() -> None:
    one: MemberTrainer = trainer(config(), photos())
    exported = export(one.module, one.names)
    exported["head.weight"][:] = 7
    assert not (one.export()["head.weight"] == 7).any()
