"""Structured logs on stderr: one JSON object, or one line of text, for each thing that happened.

What may stand in a line is listed here. Anything else that a caller, or a third party's library, hangs on a record is
left out: a field that is missing is found in a day, a secret in a log never comes back.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, TextIO

from .subject import Resource, Subject
from .transitions import Severity, Transition

FIELDS: Final = (
    "kind",
    "namespace",
    "name",
    "uid",
    "round",
    "enrolment",
    "silo",
    "member",
    "t",
    "try",
    "transition",
    "phase",
    "reason",
    "decision",
    "task",
    "job",
    "release",
    "outcome",
    "seconds",
    "depth",
    "role",
)
"""Every field that a line may have beside time, level, logger, message, error and at."""
MAX_TEXT: Final = 1024
"""Characters of a message or field: text of a peer may be long."""
_FRAMES: Final = 12

# Their INFO is about their own workings. A transition, a job, a decision is told by ours.
_QUIET: Final = (
    "kopf",
    "kubernetes",
    "client",
    "urllib3",
    "httpx",
    "httpcore",
    "aiohttp",
    "asyncio",
    "websockets",
)
# No code writes these on purpose; an exception's text may quote a request that held one.
_SECRET: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"
    r"|(?i:\bbearer\s+)[^\s\"']+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.DOTALL,
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


class LogFormat(StrEnum):
    """Values of `--log-format`."""

    JSON = "json"
    TEXT = "text"


def configure(
    format: LogFormat = LogFormat.JSON, level: int = logging.INFO, stream: TextIO | None = None
) -> None:
    """Send every log of the process to `stream` (stderr) in one format; replaces what was configured before."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if format is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    for name in _QUIET:
        logger = logging.getLogger(name)
        logger.setLevel(max(level, logging.WARNING))
        # A library that logs by itself as well would write a second line, unfiltered.
        logger.handlers.clear()
        logger.propagate = True


def catch_uncaught() -> None:
    """Let what nobody caught, in any thread, be a line as well: Python's own traceback is many, with values in them."""
    log = logging.getLogger("fedgestalt_operator")

    def uncaught(
        kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, where: str
    ) -> None:
        if issubclass(kind, KeyboardInterrupt | SystemExit):
            return
        log.critical("nobody caught this in thread %s", where, exc_info=(kind, error or kind(), trace))

    sys.excepthook = lambda kind, error, trace: uncaught(kind, error, trace, "main")
    threading.excepthook = lambda args: uncaught(
        args.exc_type, args.exc_value, args.exc_traceback, args.thread.name if args.thread else "unknown"
    )


def log_transition(log: logging.Logger, subject: Subject, transition: Transition) -> None:
    """One line for one change; warnings for those that a person may have to look at."""
    level = logging.WARNING if transition.severity is Severity.WARNING else logging.INFO
    fields: dict[str, Any] = {
        "kind": subject.kind.value,
        "namespace": subject.namespace,
        "name": subject.name,
        "uid": subject.uid,
        "transition": transition.kind.value,
        "phase": transition.phase,
        "reason": transition.reason,
        "silo": transition.silo,
        "member": transition.member,
        "t": transition.t,
    }
    if subject.kind is Resource.FEDERATION_ROUND:
        fields["round"] = subject.name
    given = {key: value for key, value in fields.items() if value not in ("", None)}
    log.log(level, "%s", transition.message, extra={FIELDS_KEY: given})


FIELDS_KEY: Final = "fedgestalt"
"""The one extra attribute of a record that is read: `extra=fields(round="gm", silo="west")`."""


def fields(**values: Any) -> dict[str, Mapping[str, Any]]:
    """The `extra` of a log call. Names outside `FIELDS` are accepted here and never written."""
    return {FIELDS_KEY: values}


def contents(record: logging.LogRecord) -> dict[str, Any]:
    """What of a record may be written, cleaned: the same for both formats."""
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": clean(_message(record)),
    }
    extra = getattr(record, FIELDS_KEY, None)
    if isinstance(extra, Mapping):
        line |= {name: _scalar(extra[name]) for name in FIELDS if extra.get(name) not in ("", None)}
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        line["error"] = clean(f"{type(error).__name__}: {error}")
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        # Places only: a traceback's source lines and an exception's chain may quote values.
        line["at"] = [f"{_short(f.filename)}:{f.lineno} {f.name}" for f in frames]
    return line


def clean(text: str) -> str:
    """One line of at most `MAX_TEXT` characters without anything that looks like a credential."""
    text = _CONTROL.sub(" ", _SECRET.sub("[redacted]", text))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; see `contents`."""
        return json.dumps(contents(record), ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """For people at a terminal: time, level, message, then the fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; see `contents`."""
        line = contents(record)
        shown = f"{line.pop('time')[11:23]} {line.pop('level').upper():7} {line.pop('message')}"
        line.pop("logger")
        at = line.pop("at", ())
        rest = [f"{name}={value}" for name, value in line.items()]
        if at:
            rest.append(f"at={at[-1]}")
        return " ".join([shown, *rest])


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        # A format that does not fit its arguments: the arguments stay unwritten.
        return str(record.msg)


def _scalar(value: Any) -> str | int | float | bool:
    if isinstance(value, StrEnum):
        return value.value
    return value if isinstance(value, bool | int | float) else clean(str(value))


def _short(path: str) -> str:
    """A module's path without the place where it is installed."""
    return "/".join(path.split("/")[-3:])
