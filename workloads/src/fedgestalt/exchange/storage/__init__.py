"""Where the board is kept: one interface, an embedded implementation."""

from fedgestalt.exchange.storage.base import BoardStorage
from fedgestalt.exchange.storage.embedded import EmbeddedStorage
from fedgestalt.exchange.storage.values import (
    Appended,
    BlobInfo,
    BlobStatus,
    ChangeSet,
    Limits,
    NewMessage,
    NewTask,
    Page,
    StoredEntry,
    StoredRelease,
    Task,
)

__all__ = [
    "Appended",
    "BlobInfo",
    "BlobStatus",
    "BoardStorage",
    "ChangeSet",
    "EmbeddedStorage",
    "Limits",
    "NewMessage",
    "NewTask",
    "Page",
    "StoredEntry",
    "StoredRelease",
    "Task",
]
