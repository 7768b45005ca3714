"""Shares of self masks: dealt to the roster, signed by their dealer, restored from tau of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedgestalt.crypto.keys import SigningKey, verify_signature
from fedgestalt.crypto.shamir import SHARE_BYTES, combine, split
from fedgestalt.secagg.computation import quorum
from fedgestalt.secagg.context import share_statement
from fedgestalt.secagg.keyring import TrySecrets


def deal(
    secrets: TrySecrets, roster: Sequence[str], ctx: bytes, dealer: str, key: SigningKey
) -> dict[str, bytes]:
    """Share b of ``dealer`` among the roster, threshold tau: by holder, share (33 bytes) and signature."""
    shares = split(
        secrets.self_secret, threshold=quorum(len(roster)), holders=len(roster), seed=secrets.share_seed
    )
    return {
        holder: share + key.sign(share_statement(ctx, dealer, holder, share))
        for holder, share in zip(roster, shares, strict=True)
    }


def verify_share(signed: bytes, signing: bytes, ctx: bytes, dealer: str, holder: str) -> bytes:
    """The share (33 bytes) in ``signed``, once its dealer's signature holds for this ctx and holder.

    Raises:
        SignatureError: it does not.
    """
    share, signature = signed[:SHARE_BYTES], signed[SHARE_BYTES:]
    verify_signature(signing, signature, share_statement(ctx, dealer, holder, share))
    return share


def restore(shares: Mapping[str, bytes], roster: Sequence[str]) -> bytes:
    """b from verified shares by holder.

    Raises:
        ShareError: fewer than tau, or they do not belong together.
    """
    points = {roster.index(holder) + 1: share for holder, share in shares.items()}
    return combine(points, threshold=quorum(len(roster)))
