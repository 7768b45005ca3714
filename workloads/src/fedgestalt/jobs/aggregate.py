"""The aggregation Job: a stateless function of the board. Same messages and blobs, same sum."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from fedgestalt.jobs.context import JobContext
from fedgestalt.secagg.aggregate import Coordinates, aggregate


def run(context: JobContext) -> None:
    """Sum the survivors' masked vectors of one (member, t, try) and upload the blinded sum."""
    parameters = context.parameters
    at = Coordinates(context.enrolment, parameters["member"], int(parameters["t"]), int(parameters["try"]))
    messages, computation = context.board()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:

        def blob(digest: str) -> Path:
            path = Path(folder) / digest
            if not path.exists():
                context.client.download_to(context.round, digest, path)
            return path

        data = aggregate(messages, blob, at, computation=computation, hub_key=context.hub_key)
    digest = hashlib.sha256(data).hexdigest()
    context.client.upload(context.round, digest, data)
    context.finish({"digest": digest})
