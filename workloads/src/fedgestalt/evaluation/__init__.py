"""Macro top-k accuracy by GestaltMatcher's protocol, from rankings to the table, in NumPy.

Owners turn rankings into integer `contributions`; their sum (by secure aggregation, or of one party) becomes
an `EvaluationTable` by `summarise`. `evaluate_plaintext` does all of it for embeddings at hand.
"""

from fedgestalt.evaluation.compare import ARMS, gain_kept, report_figures, retention
from fedgestalt.evaluation.contributions import Case, contributions
from fedgestalt.evaluation.layout import DEFAULT_REPLICATES, Layout
from fedgestalt.evaluation.plaintext import evaluate_plaintext, plaintext_contributions
from fedgestalt.evaluation.protocol import AVERAGE, KS, ROWS, SETTING_NAMES, EvaluationError
from fedgestalt.evaluation.render import accuracy_table
from fedgestalt.evaluation.table import EvaluationTable, pool, summarise

__all__ = [
    "ARMS",
    "AVERAGE",
    "DEFAULT_REPLICATES",
    "KS",
    "ROWS",
    "SETTING_NAMES",
    "Case",
    "EvaluationError",
    "EvaluationTable",
    "Layout",
    "accuracy_table",
    "contributions",
    "evaluate_plaintext",
    "gain_kept",
    "plaintext_contributions",
    "pool",
    "report_figures",
    "retention",
    "summarise",
]
