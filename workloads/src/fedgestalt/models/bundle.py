"""The extractor bundle of a release: one safetensors file per member and a manifest of digests.

The manifest is canonical JSON (RFC 8785), so its SHA-256 names the bundle. Nothing in a bundle is interpreted
before its digest has been compared with the manifest's, and the manifest itself with the digest that the
caller expects.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rfc8785
from jsonschema import Draft202012Validator
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors
from torch import nn

from fedgestalt.models.digest import file_digest, model_hash
from fedgestalt.models.ensemble import VIEWS, Ensemble, Member
from fedgestalt.models.extractor import Extractor
from fedgestalt.models.registry import build_extractor
from fedgestalt.models.weights import WeightsMismatch, load_initial_weights

FORMAT = "fedgestalt-bundle/1"
PREPROCESSING = "mtcnn-arcface112/1"  # alignment and (x / 255 - 0.5) / 0.5; changes when pixels would
MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 1 << 20

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["format", "preprocessing", "views", "members"],
    "properties": {
        "format": {"const": FORMAT},
        "preprocessing": {"type": "string", "maxLength": 64},
        "views": {"const": list(VIEWS)},
        "members": {
            "type": "array",
            "minItems": 1,
            "maxItems": 32,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "extractor", "options", "file", "digest", "modelHash"],
                "properties": {
                    "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"},
                    "extractor": {"type": "string", "maxLength": 64},
                    "options": {"type": "object", "maxProperties": 16},
                    "file": {"type": "string", "pattern": "^[a-z0-9][-a-z0-9.]{0,99}$"},
                    "digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
                    "modelHash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                },
            },
        },
    },
}

_VALIDATOR = Draft202012Validator(_SCHEMA)


class BundleError(Exception):
    """A bundle is incomplete, damaged or not the one that was expected."""


@dataclass(frozen=True)
class MemberSpec:
    """What a manifest says of a member besides its weights: enough to build the empty network."""

    name: str
    extractor: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its digest, what its members are, and the ensemble ready to encode."""

    digest: str
    specs: tuple[MemberSpec, ...]
    ensemble: Ensemble


def module_tensors(module: nn.Module) -> dict[str, NDArray[np.generic]]:
    """A module's weights and statistics as arrays, without ``num_batches_tracked``, which never travels."""
    return {
        name: tensor.detach().cpu().contiguous().numpy()
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def save_bundle(folder: Path, members: Sequence[tuple[MemberSpec, nn.Module]]) -> str:
    """Write a bundle and return its digest, ``sha256:`` and the hex SHA-256 of the manifest.

    The folder appears whole or not at all. The same members always give the same bytes.

    Raises:
        FileExistsError: the folder exists; bundles are never changed in place.
        ValueError: the manifest would be invalid, for example two members of one name.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists: bundles are never changed, choose another folder")
    entries, blobs = [], {}
    for spec, module in members:
        tensors = module_tensors(module)
        file = f"{spec.name}.safetensors"
        blobs[file] = save_tensors(dict(sorted(tensors.items())))
        entries.append(
            {
                "name": spec.name,
                "extractor": spec.extractor,
                "options": dict(spec.options),
                "file": file,
                "digest": "sha256:" + hashlib.sha256(blobs[file]).hexdigest(),
                "modelHash": model_hash(tensors),
            }
        )
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "preprocessing": PREPROCESSING,
        "views": list(VIEWS),
        "members": entries,
    }
    _check(manifest, "the new manifest")
    blobs[MANIFEST] = rfc8785.dumps(manifest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for file, blob in blobs.items():
            with (temporary / file).open("wb") as stream:
                stream.write(blob)
                stream.flush()
                os.fsync(stream.fileno())
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return "sha256:" + hashlib.sha256(blobs[MANIFEST]).hexdigest()


def load_bundle(folder: Path, digest: str | None = None) -> Bundle:
    """Verify a bundle and build its ensemble.

    Args:
        folder: what ``save_bundle`` wrote.
        digest: the bundle's expected digest; None only where the folder itself is trusted.

    Raises:
        BundleError: a digest differs, the manifest is invalid, or a file is missing, unlisted or ill-fitting.
    """
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is missing or larger than {_MAX_MANIFEST_BYTES} bytes: fetch it again")
    raw = path.read_bytes()
    found = "sha256:" + hashlib.sha256(raw).hexdigest()
    if digest is not None and found != digest:
        raise BundleError(f"{folder} is bundle {found}, not {digest}: fetch the one that the release names")
    try:
        manifest = json.loads(raw)
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}") from error
    try:
        _check(manifest, str(path))
        canonical = rfc8785.dumps(manifest) == raw
    except ValueError as error:
        raise BundleError(str(error)) from error
    if not canonical:
        raise BundleError(f"{path} is not canonical JSON (RFC 8785): it was edited; fetch the bundle again")
    if manifest["preprocessing"] != PREPROCESSING:
        raise BundleError(
            f"{folder} was made for preprocessing {manifest['preprocessing']}, this software has "
            f"{PREPROCESSING}: use the software version that the release names"
        )
    entries = manifest["members"]
    present = {item.name for item in folder.iterdir()}
    listed = {MANIFEST, *(entry["file"] for entry in entries)}
    if present != listed:
        odd = ", ".join(sorted(present ^ listed))
        raise BundleError(f"{folder} and its manifest disagree about: {odd}. Fetch the bundle again")
    for entry in entries:
        if file_digest(folder / entry["file"]) != entry["digest"]:
            raise BundleError(f"{folder / entry['file']} differs from its digest: fetch the bundle again")
    specs, built = [], []
    for entry in entries:
        spec = MemberSpec(entry["name"], entry["extractor"], entry["options"])
        built.append(Member(spec.name, _build(spec, folder / entry["file"], entry["modelHash"])))
        specs.append(spec)
    return Bundle(found, tuple(specs), Ensemble(built))


def _build(spec: MemberSpec, path: Path, expected_hash: str) -> Extractor:
    try:
        extractor = build_extractor(spec.extractor, **spec.options)
        load_initial_weights(extractor, path)
    except (ValueError, WeightsMismatch) as error:
        raise BundleError(f"member {spec.name!r} cannot be built: {error}") from error
    if model_hash(module_tensors(extractor)) != expected_hash:
        raise BundleError(f"{path} does not give the model that the manifest names: fetch the bundle again")
    return extractor.eval()


def _check(manifest: object, where: str) -> None:
    errors = sorted(_VALIDATOR.iter_errors(manifest), key=lambda e: list(map(str, e.absolute_path)))
    if errors:
        found = "; ".join(f"{error.json_path}: {error.message}" for error in errors[:5])
        raise ValueError(f"{where} is not a valid bundle manifest: {found}")
    members = manifest["members"] if isinstance(manifest, dict) else []
    for key in ("name", "file"):
        values = [entry[key] for entry in members]
        if len(set(values)) != len(values):
            raise ValueError(f"{where} names two members with the same {key}: {', '.join(values)}")
