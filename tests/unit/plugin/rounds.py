"""Rounds for the plugin's tests: a valid document, simulated silos, the statuses that the planner really wrote."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fedgestalt_operator.api.conditions import timestamp
from fedgestalt_operator.api.round import KIND, parse_round
from fedgestalt_operator.kube.documents import read_documents
from fedgestalt_operator.kube.memory import MemoryCluster
from fedgestalt_operator.kube.validate import validate
from fedgestalt_operator.plugin.access import Access

from ...plan.simulation import UID, World

EXAMPLES = Path(__file__).parents[3] / "crds" / "examples" / "valid"
NAMESPACE = "federation"
START = 1_795_530_000.0  # 2026-11-24 14:20 UTC
SILOS = ["east", "north", "south", "west"]


def document(silos: list[str] = SILOS, *, rounds: int = 2, members: int = 1, **spec: Any) -> dict[str, Any]:
    """A valid Train round, as the API server would hold it."""
    return copy.deepcopy(_document(tuple(silos), rounds, members, json.dumps(spec)))


@cache
def _document(silos: tuple[str, ...], rounds: int, members: int, spec: str) -> dict[str, Any]:
    """Checking a document against its rules is what takes the time."""
    made = copy.deepcopy(read_documents(EXAMPLES / "round-train.yaml")[0])
    first, frozen = made["spec"]["training"]["members"]
    made["spec"]["training"]["members"] = [*({**first, "name": f"m{i}"} for i in range(members)), frozen]
    made["spec"]["training"]["communicationRounds"] = rounds
    made["spec"] |= {"silos": list(silos), "deadlines": {"start": 300, "active": 20_000}, **json.loads(spec)}
    made["spec"]["quorum"] = {"minSilos": 3, "stragglerTimeout": 60}
    made = validate(made)
    made["metadata"] |= {
        "namespace": NAMESPACE,
        "uid": UID,
        "generation": 1,
        "creationTimestamp": timestamp(START),
    }
    return made


class Rig:
    """A simulated round and the cluster in which a coordinator sees it."""

    def __init__(self, made: dict[str, Any] | None = None, **world: Any) -> None:
        made = document() if made is None else made
        self.world = World(parse_round(made), now=START, **world)
        self.cluster = MemoryCluster(now=lambda: self.world.now)
        self.cluster.restore(made)

    @property
    def access(self) -> Access:
        def no_path(path: str) -> Mapping[str, Any]:
            raise AssertionError(f"nothing should be asked of {path}")

        return Access(self.cluster, NAMESPACE, no_path, lambda: self.world.now)

    @property
    def document(self) -> dict[str, Any]:
        return self.cluster.get(KIND, NAMESPACE, self.world.round.metadata.name)

    def change(self, **spec: Any) -> None:
        """The coordinator changes the spec: a new generation, as the API server counts them."""
        made = self.document
        self.cluster.apply({**made, "spec": {**made["spec"], **spec}})
        self.world.round = parse_round(self.document)

    def show(self) -> dict[str, Any]:
        """The operator writes the status; returns the round's document."""
        status = dict(self.world.settle().status)
        return self.cluster.patch_status(KIND, NAMESPACE, self.world.round.metadata.name, status)

    def until(self, reached: Callable[[World], object], most: int = 3000) -> dict[str, Any]:
        """Let the round go on until something is true; its document then."""
        for _ in range(most):
            if reached(self.world):
                return self.show()
            self.world.tick()
        raise AssertionError("it did not come to that")

    def finish(self) -> dict[str, Any]:
        self.world.run()
        return self.show()
