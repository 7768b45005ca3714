"""The vendored head: base mesh, morph targets, subdivision and baked occlusion (CC0, see assets/PROVENANCE.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

BODY, EYE_LEFT, EYE_RIGHT, LASHES, TEETH, TONGUE, HAIR = range(7)
"""Surface classes of the triangles."""


@dataclass(frozen=True)
class Landmarks:
    """Vertices of the subdivided mesh that carry the five face points (beside the eyes)."""

    nose: int
    mouth_right: int
    mouth_left: int


@dataclass(frozen=True)
class Head:
    """Everything about the head that no patient changes.

    Attributes:
        base: (n, 3) rest vertices of the coarse mesh, decimetres of the base model.
        macro: (96, n, 3) displacement per macro target (ancestry x sex x age, weight, muscle).
        macro_index: name of a macro target -> its row.
        detail: name of a detail target -> (vertex indices, (k, 3) displacements).
        subdivision: (m, n) one Catmull-Clark step as a sparse matrix.
        triangles: (t, 3) vertex indices of the fine mesh.
        surface: (t,) surface class of each triangle.
        rest: (m, 3) fine rest positions in units of the inter-ocular distance, origin between the eyes,
            x to the person's left, y up, z forward. Texture is painted in these coordinates.
        traits: (m, 4) ambient occlusion, lips, ears, eyelids; each in [0, 1].
        scalp: (m, 2) how far a vertex lies inside the hair region at the sides and back, and the room
            that the ear leaves it.
        skin: (m,) whether the vertex belongs to the skin.
        noise: (512, 512, 4) tileable textures: broad, fine, blotches, strands.
    """

    base: Floats
    macro: Floats
    macro_index: Mapping[str, int]
    detail: Mapping[str, tuple[Ints, Floats]]
    subdivision: sp.csr_matrix
    triangles: Ints
    surface: Ints
    rest: Floats
    traits: Floats
    scalp: Floats
    skin: NDArray[np.bool_]
    noise: Floats
    eyes_coarse: tuple[Ints, Ints]
    eyes: tuple[Ints, Ints]
    skin_coarse: Ints
    landmarks: Landmarks


def _tileable_noise(rng: np.random.Generator, slope: float, stretch: tuple[float, float] = (1, 1)) -> Floats:
    """(512, 512) unit-variance noise whose amplitude falls as frequency^-slope."""
    size = 512
    spectrum = np.fft.fft2(rng.normal(size=(size, size)))
    fy = np.fft.fftfreq(size)[:, None] * stretch[0]
    fx = np.fft.fftfreq(size)[None] * stretch[1]
    radius = np.sqrt(fy**2 + fx**2)
    radius[0, 0] = 1
    spectrum /= radius**slope
    spectrum[0, 0] = 0
    field = np.real(np.fft.ifft2(spectrum))
    return np.asarray(field / field.std(), dtype=np.float32)


def _scalp(rest: Floats, ears: Floats, skin: NDArray[np.bool_]) -> Floats:
    """(m, 2): depth inside the hair region behind the face, and clearance from the ear."""
    _, y, z = rest.T
    ear = rest[ears > 0.5]
    front = ear[:, 2].max()
    side = np.minimum((front - 0.02 - z) * 1.6, (y + 0.10) * 1.6)
    back = np.minimum((front - 0.45 - z) * 1.8, (y + 1.25) * 1.5)
    clearance = np.min(np.linalg.norm(rest[:, None] - ear[None, ::12], axis=2), axis=1)
    out = np.stack([np.maximum(side, back), (clearance - 0.10) * 3], axis=1)
    out[~skin | (ears > 0.1)] = -1
    return out.astype(np.float32)


def _landmarks(rest: Floats, lips: Floats, skin: NDArray[np.bool_]) -> Landmarks:
    index = np.flatnonzero(skin)
    x, y, z = rest[index].T
    nose = int(index[np.argmax(z - 5 * (abs(x) > 0.05) - 5 * (abs(y + 0.55) > 0.25))])
    lip = index[lips[index] > 0.5]
    return Landmarks(nose, int(lip[np.argmin(rest[lip, 0])]), int(lip[np.argmax(rest[lip, 0])]))


def _sample_mask(mask: NDArray[np.uint8], uv: Floats) -> Floats:
    size = mask.shape[0]
    row = np.clip(((1 - uv[:, 1]) * size).astype(int), 0, size - 1)
    column = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
    return np.asarray(mask[row, column].astype(np.float32) / 255, dtype=np.float32)


@lru_cache(maxsize=1)
def load_head() -> Head:
    """Read the packaged assets once per process (about 0.3 s)."""
    folder = files(__package__) / "assets"
    with as_file(folder / "head_assets.npz") as path, np.load(path) as archive:
        a = {name: archive[name] for name in archive.files}
    with as_file(folder / "baked.npz") as path, np.load(path) as archive:
        rest, occlusion = archive["P"].astype(np.float32), archive["aov"].astype(np.float32)

    # The bake darkened the eye sockets more than photographs show.
    x, y, z = rest.T
    socket = (abs(abs(x) - 0.5) < 0.32) & (abs(y) < 0.22) & (z > -0.1)
    occlusion[socket] = np.maximum(occlusion[socket], 0.62)

    vertices, coarse = len(rest), len(a["V"])
    triangles, surface = a["tri"].astype(np.int32), a["tri_cls"].astype(np.int32)
    subdivision = sp.csr_matrix((a["S_data"], a["S_idx"], a["S_ptr"]), shape=(vertices, coarse)).astype(
        np.float32
    )
    body = surface == BODY
    skin = np.zeros(vertices, dtype=bool)
    skin[np.unique(triangles[body])] = True
    uv = np.zeros((vertices, 2), dtype=np.float32)
    uv[triangles[body].ravel()] = a["VT"][a["tri_uv"][body].ravel()]
    lips, ears, lids = (
        np.where(skin, _sample_mask(a[f"mask_{name}"], uv), 0).astype(np.float32)
        for name in ("lips", "ears", "eyelids")
    )
    starts = a["det_ptr"]
    detail = {
        str(name): (
            a["det_idx"][i:j].astype(np.int32),
            a["det_d"][i:j].astype(np.float32),
        )
        for name, i, j in zip(a["det_names"], starts[:-1], starts[1:], strict=True)
    }
    rng = np.random.default_rng(7)
    noise = [
        _tileable_noise(rng, 1.1),
        _tileable_noise(rng, 0.55),
        _tileable_noise(rng, 1.7),
        _tileable_noise(rng, 0.6, (1, 0.12)),
    ]
    eyes = tuple(np.unique(triangles[surface == c]).astype(np.int32) for c in (EYE_LEFT, EYE_RIGHT))
    skin_index = np.flatnonzero(skin)
    return Head(
        base=a["V"].astype(np.float32),
        macro=a["macro"].astype(np.float32),
        macro_index={str(name): i for i, name in enumerate(a["macro_names"])},
        detail=detail,
        subdivision=subdivision,
        triangles=triangles,
        surface=surface,
        rest=rest,
        traits=np.stack([occlusion, lips, ears, lids], axis=1).astype(np.float32),
        scalp=_scalp(rest, ears, skin),
        skin=skin,
        noise=np.stack(noise, axis=-1),
        eyes_coarse=(eyes[0][eyes[0] < coarse], eyes[1][eyes[1] < coarse]),
        eyes=(eyes[0], eyes[1]),
        skin_coarse=skin_index[skin_index < coarse].astype(np.int32),
        landmarks=_landmarks(rest, lips, skin),
    )
