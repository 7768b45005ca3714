"""Durations and moments, as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from ..api.conditions import seconds

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UNITS: Final = (86_400, 3600, 60, 1)


def duration(text: str) -> float:
    """Seconds of a duration such as `90s`, `5m`, `2h` or `1h30m`.

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.fullmatch(text.strip())
    if not text.strip() or found is None:
        raise ValueError(f"{text!r} is no duration; write it as 90s, 5m, 2h or 1h30m")
    return float(sum(int(n) * unit for n, unit in zip(found.groups(), _UNITS, strict=True) if n))


def span(seconds: float) -> str:
    """A length of time in at most two units: `48 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    left = max(0, round(seconds))
    parts = []
    for size, unit in zip(_UNITS, ("d", "h", "min", "s"), strict=True):
        count, left = divmod(left, size)
        parts.append((count, unit))
    first = next((i for i, (count, _) in enumerate(parts) if count), 3)
    # Seconds beside hours tell nobody anything.
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def moment(at: float, now: float) -> str:
    """A time in UTC: the time of the day, with the date where that is not today's."""
    when, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC).date()
    return when.strftime("%H:%M:%SZ" if when.date() == today else "%Y-%m-%d %H:%M:%SZ")


def relative(at: float, now: float) -> str:
    """`in 48 s` or `3 min ago`."""
    return f"in {span(at - now)}" if at > now else f"{span(now - at)} ago"


def unix(text: str | None) -> float | None:
    """The Unix time of a time in a resource; None where there is none."""
    return None if text is None else seconds(text)
