"""What every job of the hub is given: where the exchange is, which round, where the result goes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedgestalt.exchange.chain import MemoryChainState
from fedgestalt.exchange.client import BoardClient
from fedgestalt.exchange.epochs.client import EpochClient
from fedgestalt.exchange.tokens import FileCredential
from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.messages import HUB, Kind, Message

MAX_RESULT_BYTES = 4096


class JobInputError(Exception):
    """The job's environment is incomplete; the message names the variable."""


@dataclass(frozen=True)
class JobContext:
    """The environment of a job (docs/reference/workload-contract.md)."""

    client: BoardClient
    epochs: EpochClient
    round: str
    enrolment: int
    hub_key: bytes
    parameters: Mapping[str, str]
    result: Path

    @classmethod
    def from_environment(cls) -> JobContext:
        """Read ``FEDGESTALT_*``.

        Raises:
            JobInputError: a variable is missing.
        """

        def need(name: str) -> str:
            value = os.environ.get(name)
            if not value:
                raise JobInputError(
                    f"{name} is not set. The operator sets it; see docs/reference/workload-contract.md."
                )
            return value

        hub_key = bytes.fromhex(need("FEDGESTALT_HUB_KEY"))
        client = BoardClient(
            need("FEDGESTALT_EXCHANGE_URL"),
            Path(need("FEDGESTALT_EXCHANGE_CA")),
            FileCredential(Path(need("FEDGESTALT_TOKEN_FILE"))),
            name=HUB,
            hub_key=hub_key,
            state=MemoryChainState(),
        )
        parameters = {
            name.removeprefix("FEDGESTALT_").lower(): value
            for name, value in os.environ.items()
            if name.startswith("FEDGESTALT_")
        }
        epochs = EpochClient(
            need("FEDGESTALT_EXCHANGE_URL"),
            Path(need("FEDGESTALT_EXCHANGE_CA")),
            FileCredential(Path(need("FEDGESTALT_TOKEN_FILE"))),
        )
        return cls(
            client,
            epochs,
            need("FEDGESTALT_ROUND"),
            int(need("FEDGESTALT_ENROLMENT")),
            hub_key,
            parameters,
            Path(need("FEDGESTALT_RESULT")),
        )

    def board(self) -> tuple[list[Message], Computation]:
        """The messages of this round's enrolment attempt in order, and the frozen computation."""
        found: list[Message] = []
        after = 0
        while entries := self.client.entries(self.round, after, wait=0.0):
            found.extend(Message.decode(entry.message) for entry in entries)
            after = entries[-1].seq
        first = next(message for message in found if message.slot.kind == Kind.COMPUTATION)
        computation = Computation.parse(self.client.download(self.round, first.blobs[0]))
        return [message for message in found if message.slot.enrolment == self.enrolment], computation

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result, at most 4 kB of JSON, where the operator reads it."""
        data = json.dumps(dict(result)).encode()
        if len(data) > MAX_RESULT_BYTES:
            raise ValueError(f"a job's result is {len(data)} bytes; at most {MAX_RESULT_BYTES} are read")
        # In place: in a pod this is a file that the kubelet mounted, which cannot be renamed over. Whether it is whole is
        # told by the exit code.
        with self.result.open("wb") as file:
            file.write(data)
