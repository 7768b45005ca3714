"""What the hub deletes when a round is over, announced things that never came included."""

from __future__ import annotations

import pytest

from fedgestalt.exchange.errors import Code, RefusedError, refused
from fedgestalt.local.releases import delete_blob


class Client:
    """Refuses as the exchange does."""

    def __init__(self, code: Code) -> None:
        self.code = code

    def delete_blob(self, round_uid: str, digest: str) -> None:
        raise refused(self.code, f"{round_uid} {digest}")


def test_a_blob_that_never_came_is_as_good_as_deleted() -> None:
    delete_blob(Client(Code.BLOB_UNKNOWN), "round", "ab" * 32)  # type: ignore[arg-type]
    with pytest.raises(RefusedError):
        delete_blob(Client(Code.FORBIDDEN), "round", "ab" * 32)  # type: ignore[arg-type]
