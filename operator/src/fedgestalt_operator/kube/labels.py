"""Labels of everything that the operator makes: readable names and the round's uid, which tells our objects
apart.
"""

from __future__ import annotations

from typing import Final

from ..api import GROUP

MANAGER: Final = "fedgestalt-operator"
ROUND: Final = f"{GROUP}/round"
ROUND_UID: Final = f"{GROUP}/round-uid"
SILO: Final = f"{GROUP}/silo"
KIND: Final = f"{GROUP}/kind"


def round_labels(name: str, uid: str, **more: str) -> dict[str, str]:
    """Labels of a child of a round; `more` may hold `silo` and `kind`."""
    extra = {f"{GROUP}/{key}": value for key, value in sorted(more.items())}
    return {"app.kubernetes.io/managed-by": MANAGER, ROUND: name, ROUND_UID: uid, **extra}
