"""What the reasons mean to a coordinator, and what to do. The runbook of each says more."""

from __future__ import annotations

from typing import Final

from ..api.reasons import FaultReason, GrantReason, RoundReason, RowsReason

RUNBOOK: Final = "docs/runbooks/federationround.md"

MEANINGS: Final[dict[RoundReason, tuple[str, str]]] = {
    RoundReason.PENDING: ("the hub has not accepted it yet", ""),
    RoundReason.ENROLLING: ("the silos agree on who takes part and on fresh keys", ""),
    RoundReason.TRAINING: ("the silos train, and their masked updates are summed", ""),
    RoundReason.ENCODING: ("the silos encode their photos with the new extractor and send masked rows", ""),
    RoundReason.MATCHING: ("the kernel ranks the test photos, and the silos sum their evaluation", ""),
    RoundReason.RELEASING: ("the silos compare the release's manifest with what they know, and sign it", ""),
    RoundReason.RELEASED: ("enough silos signed the release", "Hospitals can serve it now."),
    RoundReason.REHEARSED: (
        "every silo enrolled and confirmed its keys; spec.stopAfter asked for no more than that",
        "Create the round again without stopAfter to run it.",
    ),
    RoundReason.SILOS_NOT_ACCEPTED: (
        "a silo of the round was not registered and accepted at the hub before the start deadline",
        "Ask the platform team to accept the Silo named above, or leave it out; then create another round.",
    ),
    RoundReason.QUORUM_NOT_REACHED: (
        "fewer silos enrolled before the start deadline than are needed",
        "Settle with the silos named above why they did not (a grant, the link), then create another round.",
    ),
    RoundReason.ENROLMENT_FAILED: (
        "every enrolment attempt was undone before all silos of the roster had confirmed",
        "See the reasons above; a silo that cannot get through can be left out of the next round.",
    ),
    RoundReason.QUORUM_LOST: (
        "so many silos failed for good that too few were left",
        "The silos named above must mend their faults; then create another round.",
    ),
    RoundReason.DEADLINE_EXCEEDED: (
        "deadlines.active passed before the release",
        "See above what was awaited. Create another round with a longer deadline, or without the silo that was late.",
    ),
    RoundReason.TRIES_EXHAUSTED: (
        "one secure sum failed in every try that it had",
        "See the reason above; the log of the aggregation Job, or of the silo, says more.",
    ),
    RoundReason.MODEL_DIVERGED: (
        "too few silos held the same global model: their masks would not cancel",
        "Compare the silos' software versions and initial weights, then create another round.",
    ),
    RoundReason.KERNEL_FAILED: (
        "the kernel Job failed and so did its restarts, or it could compare the rows of too few silos",
        "Read the Job's log.",
    ),
    RoundReason.KERNEL_NOT_STARTED: (
        "no pod of the kernel Job or of its restarts began in time",
        "Ask the platform team for what the message names (image, node, quota), then create another round.",
    ),
    RoundReason.EVALUATION_DIVERGED: (
        "the silos computed different evaluation tables from the same sum",
        "Compare the silos' software versions, then create another round.",
    ),
    RoundReason.VOCABULARY_UNKNOWN: (
        "the hub had no vocabulary of the name and digest in spec.vocabulary",
        "Create the ConfigMap, then the round again.",
    ),
    RoundReason.BASE_UNKNOWN: (
        "the hub does not have the release that spec.base names",
        "`kubectl get releases` lists those it has; name one of them in another round.",
    ),
    RoundReason.BASE_MISMATCH: (
        "the round's silos cannot do this operation on that release",
        "Change spec.silos or spec.base as said above in another round.",
    ),
    RoundReason.PEER_REFUSED: (
        "not every silo of the epoch let the newcomer in",
        "Their data stewards must list the newcomer's fingerprint in their grants; then create another round.",
    ),
    RoundReason.BUNDLE_DIVERGED: (
        "too few silos encoded with the same extractor and epoch key",
        "Compare the silos' software versions, then create another round.",
    ),
    RoundReason.DELETED: ("somebody deleted it before it was over", "Create another round."),
}
"""Reason: what it means, and what the coordinator can do (empty where there is nothing to do)."""

LINK_LOST: Final = "LinkLost"
NOT_ACCEPTED: Final = "NotAccepted"

AT_THE_SILO: Final[dict[str, str]] = {
    LINK_LOST: "nothing was heard from there for 90 s or longer; the hospital must look at its link",
    NOT_ACCEPTED: "the hub does not accept it any longer; the platform team decides that (Silo, spec.accepted)",
    FaultReason.COMMITMENT_MISMATCH: "it found that a silo's opening does not fit its commitment",
    FaultReason.ENDORSEMENT_MISMATCH: "it saw another roster signed by some silo",
    FaultReason.ROSTER_UNKNOWN: "the roster holds a silo that its grant does not list",
    FaultReason.CONFIRMATION_MISMATCH: "it found that the silos' keys do not agree",
    FaultReason.MODEL_MISMATCH: "its global model is not the others'",
    FaultReason.SURVIVOR_SET_BURNT: "it has signed another list of silos for this sum and will not sign a second",
    FaultReason.SURVIVOR_SET_INVALID: "it refuses the list of silos to be summed: too short, or not as it sent",
    FaultReason.BOUND_EXCEEDED: "its update does not fit into the agreed bound",
    FaultReason.NON_FINITE: "its training gave NaN or infinity",
    FaultReason.CHECK_FAILED: "the sum that it received is not what the silos sent",
    FaultReason.BOARD_REWOUND: "the board no longer extends what it has seen; it needs a new enrolment",
    FaultReason.SPOOL_LOST: "it lost the update that it had announced",
    FaultReason.GRANT_MISMATCH: "no grant of its data steward fits this round",
    FaultReason.CLOCK_SKEWED: "its clock is off by more than 5 minutes",
    FaultReason.TRAINER_FAILED: "its training failed; its own log says why",
    FaultReason.DATA_INVALID: "its cohort cannot be read",
    RowsReason.ROWS_REFUSED: "the kernel could not compare its rows with the others'; the Job's log says why",
    FaultReason.INITIAL_WEIGHTS_MISSING: "it does not have the initial weights of that digest",
}
"""What a reason in a wait or beside a silo means."""

OF_GRANTS: Final[dict[GrantReason, str]] = {
    GrantReason.NO_GRANT: "it has none that can be used",
    GrantReason.REVOKED: "its data steward revoked the one that fitted",
    GrantReason.EXPIRED: "the one that would fit has ended",
    GrantReason.USES_SPENT: "the one that would fit is used up",
    GrantReason.HUB: "they are for another hub's key",
    GrantReason.OPERATION: "they do not allow spec.operation",
    GrantReason.PURPOSE: "they do not allow spec.purpose",
    GrantReason.DATASET: "they do not allow spec.dataset",
    GrantReason.QUORUM: "they ask for a larger spec.quorum.minSilos",
    GrantReason.BOUND: "the round asks for more, or goes on for longer, than they allow",
    GrantReason.PEER: "they do not list every hospital of the round",
    GrantReason.IMAGE: "they do not list the images in spec.software",
    GrantReason.SIGNER_UNCHECKED: "they ask for signed images, which its version cannot check",
}
"""What a rule of a site's grants says of the round, as far as a coordinator may know."""


def page(reason: str) -> str:
    """The page of the runbook."""
    return f"{RUNBOOK}#{reason.lower()}"


def of_grants(cause: str) -> str:
    """`PeerNotGranted (they do not list every hospital of the round)`; a later version may know more causes."""
    return f"{cause} ({OF_GRANTS[GrantReason(cause)]})" if cause in set(GrantReason) else cause


def at_the_silo(reason: str) -> str:
    """What a silo's reason means; sites have reasons of their own, which are given as they are."""
    return AT_THE_SILO.get(reason, f"its site says {reason}")
