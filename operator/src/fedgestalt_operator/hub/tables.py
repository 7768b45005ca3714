"""Results of Jobs that are too large for a termination message: a digest there, the table itself a blob of the round."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ..plan.types import JobPhase, JobState
from .ports import HubExchange

TABLE: Final = "table"
MAX_BYTES: Final = 256 * 1024
"""128 silos take 11 kB."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def with_tables(exchange: HubExchange, round_uid: str, jobs: Mapping[str, JobState]) -> dict[str, JobState]:
    """The Jobs with the content of the tables that their results name, in place of the name.

    A table that is not there, or is none, leaves the result without it: such a Job counts as failed.

    Raises:
        ExchangeUnavailable: a table could not be asked for.
    """
    return {name: _with_table(exchange, round_uid, state) for name, state in jobs.items()}


def _with_table(exchange: HubExchange, round_uid: str, state: JobState) -> JobState:
    digest = state.result.get(TABLE)
    if state.phase is not JobPhase.SUCCEEDED or not isinstance(digest, str):
        return state
    data = exchange.blob(round_uid, digest) if _DIGEST.fullmatch(digest) else None
    rest = {key: value for key, value in state.result.items() if key != TABLE}
    return replace(state, result={**rest, **_parsed(data)})


def _parsed(data: bytes | None) -> Mapping[str, Any]:
    if data is None or len(data) > MAX_BYTES:
        return {}
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
