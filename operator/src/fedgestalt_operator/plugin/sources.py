"""Where boards come from: a file, or the hub's operator through the API server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from ..api.round import KIND
from ..kube.errors import ClusterError, Forbidden, NotFound, NotServed
from ..kube.port import Cluster
from ..plan.board_file import BoardRecord
from .board_read import BoardError, parse_board, read_board
from .ends import End, Exit
from .follow import read_round

SERVICE: Final = "fedgestalt-hub"
PORT: Final = "http"


class BoardSource(Protocol):
    """Gives the board of a round."""

    def read(self, name: str) -> BoardRecord:
        """The board of the round `name`.

        Raises:
            End: there is none, or it cannot be had.
        """
        ...


@dataclass(frozen=True)
class FileSource:
    """A board that was exported to a file."""

    path: Path

    def read(self, name: str) -> BoardRecord:
        """See `BoardSource.read`."""
        try:
            record = read_board(self.path)
        except BoardError as error:
            raise End(Exit.USAGE, str(error)) from error
        metadata = record.round.metadata
        if name not in (metadata.name, metadata.uid):
            raise End(Exit.NOT_FOUND, f"{self.path} is the board of round {metadata.name}, not of {name}")
        return record


def proxy_path(namespace: str, uid: str) -> str:
    """The operator's export of a board, through the API server's proxy: RBAC on services/proxy decides who may look."""
    return f"/api/v1/namespaces/{namespace}/services/https:{SERVICE}:{PORT}/proxy/v1/rounds/{uid}/board"


@dataclass(frozen=True)
class HubSource:
    """The boards of the rounds of one namespace, from its hub."""

    cluster: Cluster
    namespace: str
    hub_namespace: str
    document: Callable[[str], Mapping[str, Any]]

    def read(self, name: str) -> BoardRecord:
        """See `BoardSource.read`."""
        uid = read_round(self.cluster, self.namespace, name)["metadata"]["uid"]
        path = proxy_path(self.hub_namespace, uid)
        try:
            return parse_board(self.document(path), f"the hub's answer for {KIND} {name}")
        except Forbidden as error:
            raise End(
                Exit.UNREACHABLE,
                f"{error}; reading boards takes the right to get services/proxy of {SERVICE} in {self.hub_namespace}",
            ) from error
        except (NotFound, NotServed) as error:
            raise End(
                Exit.NOT_FOUND,
                f"no board of round {name} behind service {SERVICE} in namespace {self.hub_namespace} "
                "(another one: --hub-namespace)",
            ) from error
        except (ClusterError, ValueError) as error:  # BoardError is a ValueError
            raise End(Exit.UNREACHABLE, str(error)) from error
