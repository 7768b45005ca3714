"""What goes wrong with cohorts: always one error that lists every offender."""

from collections.abc import Sequence
from pathlib import Path

_MOST_LISTED = 50


class CohortError(Exception):
    """A cohort that cannot be used. ``problems`` holds all of them, the message the first fifty."""

    def __init__(self, where: Path, problems: Sequence[str]) -> None:
        shown = list(problems[:_MOST_LISTED])
        if len(problems) > _MOST_LISTED:
            shown.append(f"... and {len(problems) - _MOST_LISTED} more")
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{where}: {count}\n" + "\n".join(f"  {line}" for line in shown))
        self.where = where
        self.problems = tuple(problems)
