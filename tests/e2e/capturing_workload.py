"""The real trainer and encoder, which also write what they hand to the agent into a folder of the test.

    python capturing_workload.py FOLDER train|encode --task FILE

FOLDER/<silo>/ then holds ``model-<member>-<t>.npz``, ``delta-<member>-<t>.npz`` and ``rows.npz``.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedgestalt.training.entry import main
from fedgestalt.training.link import AgentLink
from fedgestalt.training.messages import Aggregated


def capture(folder: Path) -> None:
    """From now on, keep what passes over the link."""
    folder.mkdir(parents=True, exist_ok=True)
    initial, aggregate, rows = AgentLink.initial, AgentLink.aggregate, AgentLink.rows

    def keep(name: str, tensors: Mapping[str, Any]) -> None:
        np.savez(folder / f"{name}.npz", **tensors)

    def captured_initial(link: AgentLink, member: str, tensors: Mapping[str, Any]) -> None:
        keep(f"model-{member}-0", tensors)
        initial(link, member, tensors)

    def captured_aggregate(link: AgentLink, member: str, t: int, delta: Mapping[str, Any]) -> Aggregated:
        keep(f"delta-{member}-{t}", delta)
        answer = aggregate(link, member, t, delta)
        keep(f"model-{member}-{t}", answer.tensors)
        return answer

    def captured_rows(link: AgentLink, embeddings: Any, meta: Sequence[Mapping[str, Any]]) -> None:
        keep("rows", {"embeddings": embeddings})
        rows(link, embeddings, meta)

    AgentLink.initial, AgentLink.aggregate, AgentLink.rows = (  # type: ignore[method-assign]
        captured_initial,
        captured_aggregate,
        captured_rows,
    )


if __name__ == "__main__":
    task = json.loads(Path(sys.argv[-1]).read_text())
    # silos/<name>/work/<round>/link.sock
    capture(Path(sys.argv[1]) / Path(task["socket"]).parents[2].name)
    sys.exit(main(sys.argv[2:]))
