"""The encoder: a silo's photos become unit embeddings, which go to the agent and nowhere else."""

from typing import Any

import torch

from fedgestalt.data import Photo
from fedgestalt.models.bundle import MemberSpec, load_bundle, save_bundle
from fedgestalt.models.ensemble import Ensemble

from .ensembles import build_ensemble
from .link import AgentLink
from .photos import load_faces
from .task import Task


def encode(task: Task) -> None:
    """Encode every photo of the cohort with the global ensemble and hand the rows to the agent.

    Raises:
        TrainingError and what `load_faces` and `build_ensemble` raise.
    """
    torch.set_num_threads(task.training.resources.threads)
    with AgentLink(task.socket) as link:

        def told(what: str, begin: float, share: float) -> Any:
            def progress(done: int, total: int) -> None:
                link.progress("", 0, begin + share * done / max(total, 1), what)

            return progress

        faces = load_faces(task.cohort, task.cache, told("aligning faces", 0.0, 0.5), excluded=task.excluded)
        ensemble = _ensemble(task, link)
        embeddings = ensemble.encode(faces.images, progress=told("encoding", 0.5, 0.5))
        link.rows(embeddings, [_row(photo) for photo in faces.photos])


def _ensemble(task: Task, link: AgentLink) -> Ensemble:
    """The bundle's ensemble; after training there is none yet, and this makes it."""
    if not task.bundle.exists():
        trained = {name: state.tensors for name, state in link.resume().items()}
        ensemble = build_ensemble(task.training, trained, task.public_seed)
        specs = {member.name: MemberSpec(member.name, member.extractor) for member in task.training.members}
        save_bundle(task.bundle, [(specs[member.name], member.extractor) for member in ensemble.members])
    return load_bundle(task.bundle).ensemble


def _row(photo: Photo) -> dict[str, Any]:
    return {
        "photo": str(photo.image),
        "patient": photo.patient,
        "syndrome": photo.syndrome or "",
        "role": str(photo.role),
        "test_splits": [int(split) for split in photo.test_splits],
    }
