"""Ray Train around the local loop: one ``fit()`` per silo for all members and communication rounds.

Rank 0 alone speaks with the silo's agent; the other workers get the new global model by broadcast. With
``resources.workers: 0`` the same function runs in this process (Ray Train's local mode, no cluster is started).
"""

import logging
from pathlib import Path
from typing import Any

import torch

from .checkpoint import load_checkpoint, save_checkpoint
from .config import Member, Resources
from .errors import CheckpointError, TrainingError, WorkersFailedError
from .failures import named_failures
from .group import Group
from .link import AgentLink
from .loop import MemberTrainer, TrainingData
from .module import Float32, difference
from .photos import load_faces
from .ray_session import ray_session
from .seeds import round_seed
from .task import Task, load_task

log = logging.getLogger(__name__)


def fit(task_file: Path) -> None:
    """Train every trainable member of a task file to the end of its round.

    Raises:
        TrainingError: with the exit code that the workload ends with.
    """
    task = load_task(task_file)
    resources = task.training.resources
    with ray_session(task.work, resources):
        import ray.train
        from ray.train.torch import TorchTrainer

        trainer = TorchTrainer(
            _worker,
            train_loop_config={"task": str(task_file)},
            scaling_config=ray.train.ScalingConfig(
                num_workers=resources.workers,
                use_gpu=resources.gpus_per_worker > 0,
                resources_per_worker=_per_worker(resources),
            ),
            run_config=ray.train.RunConfig(name="round", storage_path=str(task.work / "ray-results")),
        )
        try:
            trainer.fit()
        except TrainingError:
            raise
        except Exception as error:
            cause = _training_error(error)
            if cause is not None:
                raise cause from error
            raise WorkersFailedError(f"Ray Train: {type(error).__name__}: {str(error)[-500:]}") from error


def _per_worker(resources: Resources) -> dict[str, float] | None:
    """What Ray reserves for each worker; nothing in local mode."""
    if resources.workers == 0:
        return None
    reserved = {"CPU": float(resources.threads)}
    if resources.gpus_per_worker > 0:
        reserved["GPU"] = float(resources.gpus_per_worker)
    return reserved


def train_members(task: Task, group: Group) -> None:
    """What every worker does: all members, all communication rounds."""
    torch.set_num_threads(task.training.resources.threads)
    link = AgentLink(task.socket) if group.leads else None
    try:
        faces = load_faces(task.cohort, task.cache, training_only=True, excluded=task.excluded)
        data = faces.training_data(task.trained)
        secret = task.site_secret()
        trainers = []
        for member in task.training.trainable:
            trainer = _trainer(task, member, data, secret, group)
            if link is not None:
                link.initial(member.name, trainer.export())
            trainers.append(trainer)
        for trainer in trainers:
            _train_member(task, trainer, link, group)
    finally:
        if link is not None:
            link.close()


def _trainer(task: Task, member: Member, data: TrainingData, secret: bytes, group: Group) -> MemberTrainer:
    return MemberTrainer(
        task.training,
        member,
        data,
        task.public_seed,
        lambda t: round_seed(secret, task.roster, member.name, t),
        group,
    )


def _train_member(task: Task, trainer: MemberTrainer, link: AgentLink | None, group: Group) -> None:
    """Communication rounds of one member, from where agent and checkpoint stand."""
    member, folder, binding = trainer.member, task.work / "checkpoints", task.roster.hex()
    done, model = 0, trainer.export()
    trained = 0
    if link is not None:
        state = link.resume()[member.name]
        done, model = state.t, dict(state.tensors)
        checkpoint = load_checkpoint(folder, member.name, binding)
        if checkpoint is not None:
            if checkpoint.t > done + 1:
                raise CheckpointError(
                    f"{folder}: the checkpoint of {member.name} is of t={checkpoint.t}, but the agent stands at "
                    f"t={done}: it lost its state; delete the checkpoint to train again"
                )
            trainer.restore(checkpoint)
            trained = checkpoint.t
    done, trained = group.number(done), group.number(trained)
    if trained == 0 and done > 0 and link is not None:
        log.warning("%s: no checkpoint for t=%d: head and optimizer start anew", member.name, done)
    trainer.synchronise()
    for t in range(done + 1, task.training.communication_rounds + 1):
        if trained < t:
            _set_global(trainer, model, group)
            loss = trainer.train(t, None if link is None else _reporter(link, member.name, t, task))
            trained = t
            if link is not None:
                save_checkpoint(folder, member.name, binding, trainer.checkpoint(t))
                log.info("%s t=%d: loss %.3f", member.name, t, loss)
        if link is not None:
            answer = link.aggregate(member.name, t, difference(trainer.export(), model))
            model = dict(answer.tensors)
    _set_global(trainer, model, group)


def _set_global(trainer: MemberTrainer, model: dict[str, Float32], group: Group) -> None:
    """Every worker starts from rank 0's global model."""
    if group.leads:
        trainer.load(model)
    state = trainer.module.state_dict()
    group.tensors([state[name] for name in trainer.names])


def _reporter(link: AgentLink, member: str, t: int, task: Task) -> "_Report":
    return _Report(link, member, t, task.training.communication_rounds)


class _Report:
    """Tells the agent how far the whole training is, in steps of a fiftieth of a communication round."""

    def __init__(self, link: AgentLink, member: str, t: int, rounds: int) -> None:
        self._link, self._member, self._t, self._rounds = link, member, t, rounds
        self._last = -1

    def __call__(self, part: float, message: str) -> None:
        step = int(part * 50)
        if step != self._last:
            self._last = step
            self._link.progress(self._member, self._t, (self._t - 1 + part) / self._rounds, message)


def _worker(config: dict[str, Any]) -> None:
    """Ray Train's train loop, in each worker."""
    import ray.train
    import ray.train.torch

    context = ray.train.get_context()
    task = load_task(Path(config["task"]))
    local = task.training.resources.workers == 0
    size = 1 if local else context.get_world_size()
    rank = 0 if local else context.get_world_rank()
    group = Group(rank, size, ray.train.torch.get_device())
    with named_failures():
        train_members(task, group)
    ray.train.report({"done": 1})


def _training_error(error: BaseException | None) -> TrainingError | None:
    """The room's own error at the bottom of Ray's wrappers, if there is one."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, TrainingError):
            return error
        for failure in getattr(error, "worker_failures", {}).values():
            found = _training_error(getattr(failure, "_base_exc", failure))
            if found is not None:
                return found
        error, seen = error.__cause__ or getattr(error, "cause", None), seen + 1
    return None


__all__ = ["fit", "train_members"]
