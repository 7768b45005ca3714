"""Who calls, and what they may do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from fedgestalt.crypto.keys import key_id
from fedgestalt.exchange.errors import Code, refused
from fedgestalt.exchange.server.rounds import delegated_key, require_member
from fedgestalt.exchange.server.state import ServerState
from fedgestalt.exchange.tokens import Claims, Role
from fedgestalt.secagg.messages import HUB

ROUND: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
RESOURCE: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller.

    Attributes:
        role: silo, hub or job.
        name: the silo's name, or ``hub``.
        identities: the silo's registered public keys that are valid now; none for hub and jobs.
        round: the one round that the token opens; empty: all that the caller is in.
    """

    role: Role
    name: str
    identities: tuple[bytes, ...]
    round: str

    @property
    def owner(self) -> str:
        """Whose quota its blobs count against. A dot keeps silos apart from hub and jobs: names hold none."""
        return f"{self.role}.{self.name}"


# Asynchronous, though it waits for nothing: FastAPI would send a plain function to a thread at each request.
async def shared(request: Request) -> ServerState:
    """The application's shared parts."""
    state = request.app.state.shared
    assert isinstance(state, ServerState)
    return state


State = Annotated[ServerState, Depends(shared)]


def _authenticate(state: ServerState, token: str) -> Caller:
    now = state.settings.clock()

    def key_of(claims: Claims) -> bytes:
        if claims.role is not Role.SILO:
            return state.hub_public
        valid = state.registry.identities(claims.name, now=now)
        if not claims.enrolment:
            return next((key for key in valid if key_id(key).hex() == claims.kid), valid[0])
        key = delegated_key(state, claims.round, claims.enrolment, claims.name)
        if key is None:
            raise refused(Code.UNAUTHENTICATED, "no delegated key is known for this enrolment")
        return key

    claims = state.tokens.verify(token, key_of=key_of, now=now)
    if claims.role is Role.SILO:
        state.presence.heard[claims.name] = now
        valid = state.registry.identities(claims.name, now=now)
        return Caller(claims.role, claims.name, valid, claims.round)
    return Caller(claims.role, HUB, (), claims.round)


async def authenticated(request: Request) -> Caller:
    """The caller of a request.

    Raises:
        RefusedError: Unauthenticated, ClockSkewed or Revoked.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise refused(Code.UNAUTHENTICATED, "no bearer token")
    state, token = await shared(request), token.strip()
    if state.tokens.knows(token):
        return _authenticate(state, token)
    return await run_in_threadpool(_authenticate, state, token)


Authenticated = Annotated[Caller, Depends(authenticated)]


def require_role(caller: Caller, *roles: Role) -> None:
    """Refuse other roles.

    Raises:
        RefusedError: Forbidden.
    """
    if caller.role not in roles:
        raise refused(Code.FORBIDDEN, f"a {caller.role} may not do this")


def require_unbound(caller: Caller) -> None:
    """Refuse tokens of one round where the request belongs to none.

    Raises:
        RefusedError: Forbidden.
    """
    if caller.round:
        raise refused(Code.FORBIDDEN, f"the token opens round {caller.round} only")


def check_round(caller: Caller, round_uid: str) -> None:
    """Check a round's name and that the token opens it.

    Raises:
        RefusedError: Invalid or Forbidden.
    """
    if not ROUND.fullmatch(round_uid):
        raise refused(Code.INVALID, "a round uid has 1 to 64 letters, digits, dots, dashes or underscores")
    if caller.round and caller.round != round_uid:
        raise refused(Code.FORBIDDEN, f"the token opens round {caller.round} only")


async def require_round(state: ServerState, caller: Caller, round_uid: str) -> None:
    """Check that the caller belongs to the round.

    Raises:
        RefusedError: Invalid, Forbidden, RoundNotOpen or NotInRound.
    """
    check_round(caller, round_uid)
    if caller.role is Role.SILO:
        await run_in_threadpool(require_member, state, round_uid, caller.name, caller.identities)


def check_digest(digest: str) -> None:
    """Check that a path segment is a SHA-256 in hex.

    Raises:
        RefusedError: Invalid.
    """
    if not DIGEST.fullmatch(digest):
        raise refused(Code.INVALID, "a blob is named by 64 lower-case hex digits")
