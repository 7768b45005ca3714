"""FLAKE: the hub compares patients by the cosine of their embeddings without seeing an embedding.

Silos of an epoch share a secret isometry (`Frame`) and rotate their unit embeddings by it (`rotate`). The
hub's kernel job (`Kernel`) gets rotated rows (`SiloRows`), whose inner products are the cosines, and gives
each owner the ranking of label tokens for its own test rows (`Rankings`). The method is that of FLAKE (arXiv
2306.02677) as arXiv 2509.10635 uses it; `frame` says what it does not hide.
"""

from fedgestalt.flake.cache import FolderCache
from fedgestalt.flake.errors import FlakeError
from fedgestalt.flake.frame import Frame
from fedgestalt.flake.mask import rotate, unit_rows
from fedgestalt.flake.match import Kernel
from fedgestalt.flake.membership import Membership, Role, membership
from fedgestalt.flake.rankings import NO_TOKEN, Rankings
from fedgestalt.flake.rows import GalleryRows, RowLimits, SiloRows, TestRows, UndiagnosedRows
from fedgestalt.flake.tokens import label_token, photo_handle
from fedgestalt.flake.upload import masked_rows, sort_rows

__all__ = [
    "NO_TOKEN",
    "FlakeError",
    "FolderCache",
    "Frame",
    "GalleryRows",
    "Kernel",
    "Membership",
    "Rankings",
    "Role",
    "RowLimits",
    "SiloRows",
    "TestRows",
    "UndiagnosedRows",
    "label_token",
    "masked_rows",
    "membership",
    "photo_handle",
    "rotate",
    "sort_rows",
    "unit_rows",
]
