"""Initial weights by name or path, checked by digest before a byte of them is interpreted."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fedgestalt.models.digest import file_digest

SEARCH_PATH_VARIABLE = "FEDGESTALT_WEIGHTS"
_SHIPPED = Path(__file__).parent / "weights"
_SUFFIXES = (".safetensors", ".pt", ".pth")


class InitialWeightsMissing(Exception):  # noqa: N818 - the design's name for a condition that users see
    """No file of the wanted name and digest was found; the message says where it was looked for."""


class WeightsMismatch(ValueError):  # noqa: N818
    """A weights file does not fit the extractor."""


def shipped_weights() -> dict[str, Path]:
    """Names and files of the weights that come with the package."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.safetensors"))}


def find_weights(name_or_path: str | Path, digest: str | None = None) -> Path:
    """The file that a name means: a path as given, else a file of that name in the folders of
    ``FEDGESTALT_WEIGHTS`` (separated like PATH), else one that is shipped.

    Args:
        name_or_path: a path, or a name with or without its suffix.
        digest: ``sha256:`` and 64 hex digits of the file, or None where the caller trusts the name.

    Raises:
        InitialWeightsMissing: nothing has that name, or everything that has it another digest.
    """
    candidates = _candidates(Path(name_or_path))
    differing = []
    for candidate in candidates:
        if not candidate.is_file():
            continue
        found = file_digest(candidate)
        if digest is None or found == digest:
            return candidate
        differing.append(f"{candidate} has digest {found}")
    looked = "; ".join(differing) or "looked at " + ", ".join(map(str, candidates))
    wanted = f"initial weights {str(name_or_path)!r}" + (f" with digest {digest}" if digest else "")
    raise InitialWeightsMissing(
        f"{wanted} not found: {looked}. Put the file into a folder named in {SEARCH_PATH_VARIABLE}, "
        f"or choose shipped weights: {', '.join(shipped_weights()) or 'none'}"
    )


def load_initial_weights(module: nn.Module, name_or_path: str | Path, digest: str | None = None) -> Path:
    """Load weights into an extractor, every tensor by name and shape, and return the file they came from.

    Safetensors files and torch state dicts (read without unpickling code) are accepted.
    ``num_batches_tracked`` may be absent: it is a counter, not a weight.

    Raises:
        InitialWeightsMissing: see ``find_weights``.
        WeightsMismatch: the file is damaged, or its names or shapes are not the module's.
    """
    path = find_weights(name_or_path, digest)
    tensors = read_tensors(path)
    own = module.state_dict()
    missing = [k for k in own if k not in tensors and not k.endswith("num_batches_tracked")]
    unknown = [k for k in tensors if k not in own]
    shapes = [
        f"{k} {list(v.shape)} instead of {list(own[k].shape)}"
        for k, v in tensors.items()
        if k in own and v.shape != own[k].shape
    ]
    problems = [
        f"{what}: {', '.join(names[:5])}{' and more' if len(names) > 5 else ''}"
        for what, names in (("missing", missing), ("unknown", unknown), ("wrong shape", shapes))
        if names
    ]
    if problems:
        found = "; ".join(problems)
        raise WeightsMismatch(
            f"{path} does not fit {type(module).__name__}: {found}. Choose weights made for it"
        )
    module.load_state_dict(tensors, strict=False)
    return path


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or of a torch state dict, on the CPU; code in a pickle is never run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise WeightsMismatch(f"{path} cannot be read as weights: {error}") from error
    except Exception as error:  # pickle.UnpicklingError, by name, would need the module that we ban
        raise WeightsMismatch(f"{path} is not a plain state dict: {error}") from error
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsMismatch(f"{path} is no state dict of tensors: save module.state_dict() alone")
    return {str(name): tensor for name, tensor in loaded.items()}


def _candidates(given: Path) -> list[Path]:
    if len(given.parts) != 1:
        return [given]
    folders = [Path(f) for f in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if f]
    names = [given.name] if given.suffix in _SUFFIXES else [given.name + suffix for suffix in _SUFFIXES]
    return [given, *(folder / name for folder in [*folders, _SHIPPED] for name in names)]
