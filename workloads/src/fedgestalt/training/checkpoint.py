"""A silo's local state after training a communication round: one safetensors file per member, replaced whole.

It is written before the update leaves. A process that was killed while it waited sends the same update again,
bit by bit, instead of training again (the masked bytes for that update may be spooled already). The state of
random generators is not in it: each communication round derives its own seed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .errors import CheckpointError

_FORMAT = "fedgestalt-checkpoint/1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Local training of communication round `t` is done; `tensors` hold model, head and moments."""

    t: int
    tensors: Mapping[str, Tensor]


def save_checkpoint(folder: Path, member: str, binding: str, checkpoint: Checkpoint) -> None:
    """Replace the member's checkpoint. `binding` names the computation it belongs to (a roster hash).

    Raises:
        CheckpointError: where the disk does not take it.
    """
    metadata = {"format": _FORMAT, "t": str(checkpoint.t), "binding": binding}
    target = folder / f"{member}.safetensors"
    temporary = folder / f".{member}.{os.getpid()}.tmp"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        blob = save({n: t.detach().cpu().contiguous() for n, t in checkpoint.tensors.items()}, metadata)
        with temporary.open("wb") as stream:
            stream.write(blob)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"{target} cannot be written ({error.strerror}): free space, check rights"
        ) from error


def load_checkpoint(folder: Path, member: str, binding: str) -> Checkpoint | None:
    """The member's checkpoint, or None where there is none for this computation.

    Raises:
        CheckpointError: for a file that is damaged.
    """
    path = folder / f"{member}.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != _FORMAT or metadata.get("binding") != binding:
                return None
            names = list(file.keys())
            return Checkpoint(int(metadata["t"]), {name: file.get_tensor(name) for name in names})
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is damaged ({type(error).__name__}): delete it to train again"
        ) from error
