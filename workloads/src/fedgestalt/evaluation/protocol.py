"""The evaluation protocol of GestaltMatcher: what is tested, against what, and how it is averaged.

- Frequent syndromes are those the extractor is trained on; rare ones it has never seen.
- Four settings: frequent tests ranked among frequent syndromes, rare among rare, and both among all.
- Top-k accuracy is the macro average over syndromes of the share of a syndrome's test photos that have the
  right syndrome among the first k, for k = 1, 5, 10, 30.
- Rare photos change sides over numbered splits; a figure is the mean over the splits. Frequent tests among
  frequent syndromes do not depend on the split and are counted once, in split 1.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

KS: Final = (1, 5, 10, 30)
TOP_NAMES: Final = tuple(f"top{k}" for k in KS)

Group = Literal["trained", "rare"]


class Setting(NamedTuple):
    """One of the four settings: which tests, ranked among which syndromes."""

    name: str
    tests: Group
    among_all: bool

    @property
    def once(self) -> bool:
        """Whether every numbered split gives the same figure, so that one of them is enough."""
        return self.tests == "trained" and not self.among_all


SETTINGS: Final = (
    Setting("frequent_frequent", "trained", False),
    Setting("rare_rare", "rare", False),
    Setting("frequent_all", "trained", True),
    Setting("rare_all", "rare", True),
)
SETTING_NAMES: Final = tuple(setting.name for setting in SETTINGS)
#: The row behind the four settings: their mean.
AVERAGE: Final = "average"
ROWS: Final = (*SETTING_NAMES, AVERAGE)


class EvaluationError(ValueError):
    """Input that cannot be evaluated; the message names what, where and the fix."""
