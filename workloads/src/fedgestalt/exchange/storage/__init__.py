"""Where the board is kept: one interface, an embedded implementation."""

from fedgestalt.exchange.storage.base import (
    Appended,
    BlobInfo,
    BlobStatus,
    BoardStorage,
    Limits,
    NewMessage,
    Page,
    StoredEntry,
    Task,
)
from fedgestalt.exchange.storage.embedded import EmbeddedStorage

__all__ = [
    "Appended",
    "BlobInfo",
    "BlobStatus",
    "BoardStorage",
    "EmbeddedStorage",
    "Limits",
    "NewMessage",
    "Page",
    "StoredEntry",
    "Task",
]
