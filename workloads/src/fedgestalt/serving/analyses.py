"""From a photo to an answer: gate, encoding, own gallery, federation, conclusion."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from anyio import CapacityLimiter, to_thread
from numpy.typing import NDArray

from fedgestalt.faces import PREPROCESSING, Detector
from fedgestalt.faces.align import SIDE
from fedgestalt.faces.quality import REMEDIES
from fedgestalt.flake.bands import BANDS, band
from fedgestalt.serving import answers
from fedgestalt.serving.federation import (
    TIMEOUT,
    Absence,
    Asking,
    FederatedAnswer,
    Federation,
    FederationAbsent,
)
from fedgestalt.serving.problems import Code, Problem
from fedgestalt.serving.quality import Portrait, portrait
from fedgestalt.serving.release import Release, ReleaseError

_log = logging.getLogger(__name__)
MOST_AT_ONCE: Final = 8
_TOP: Final = 30


@dataclass(frozen=True)
class _Seen:
    """What the networks and the own gallery say of a photo; ``row`` is what may leave, if there is whom to ask."""

    face: Portrait
    local: list[answers.Candidate]
    gallery: int
    row: NDArray[np.float64] | None


class Analyses:
    """Analyses photos with one release, one at a time: the networks use all cores that they are given."""

    def __init__(self, release: Release, federation: Federation | None, timeout: float = TIMEOUT) -> None:
        """
        Args:
            federation: None where this site answers from its own gallery only.
            timeout: seconds that an answer waits for the federation.
        """
        self.release = release
        self.federated = federation is not None
        self._asking = None if federation is None else Asking(federation, timeout)
        self._detector = Detector()
        self._turn: CapacityLimiter | None = None
        self._places = 0

    def warm_up(self) -> None:
        """One pass of every network and of the rotation on an empty picture, so that the first patient does not wait.

        Raises:
            ValueError: a network gives no direction.
        """
        empty = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        self._detector.detect([empty])
        embedding = self.release.bundle.ensemble.encode(empty[None])[0]
        self.release.rotate(embedding)
        self.release.gallery.current().nearest(embedding, _TOP)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Held from before the upload to the answer: bounds what photos take of the memory, and the waiting.

        Raises:
            Problem: Busy.
        """
        if self._places >= MOST_AT_ONCE:
            raise Problem(Code.BUSY, f"{MOST_AT_ONCE} photos are being analysed or wait", retry_after=5)
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    def describe_gallery(self) -> answers.Gallery:
        """How many photos answers come from, when they were last looked at."""
        return answers.Gallery(own=self.release.gallery.size, federation=self.release.federation_gallery)

    async def analyse(self, photo: bytes, *, proceed: bool = False) -> answers.Analysis:
        """The answer to a photo.

        Args:
            photo: a JPEG or PNG file's bytes.
            proceed: go on despite findings of the gate.

        Raises:
            Problem: PhotoUnreadable, PhotoUnfit, or NotReady where the own gallery was damaged meanwhile.
        """
        if self._turn is None:  # belongs to the running event loop
            self._turn = CapacityLimiter(1)
        seen = await to_thread.run_sync(self._examine, photo, proceed, limiter=self._turn)
        notices: list[answers.Notice] = []
        federated = await self._federated(seen.row, notices)
        return self._answer(seen, federated, notices)

    def _examine(self, photo: bytes, proceed: bool) -> _Seen:
        face = portrait(photo, self._detector, proceed=proceed)
        embedding = self.release.bundle.ensemble.encode(face.crop[None])[0]
        try:
            gallery = self.release.gallery.current()
        except ReleaseError as error:
            _log.error("%s", error)
            raise Problem(
                Code.NOT_READY, "the own gallery cannot be read; the service's log says why"
            ) from None
        candidates = [
            self._candidate(rank, case.syndrome, band(case.cosine), "local", case.handle)
            for rank, case in enumerate(gallery.nearest(embedding, _TOP), 1)
        ]
        row = None if self._asking is None else self.release.rotate(embedding)
        return _Seen(face, candidates, gallery.size, row)

    async def _federated(
        self, row: NDArray[np.float64] | None, notices: list[answers.Notice]
    ) -> answers.Federated | None:
        try:
            if self._asking is None or row is None:
                raise FederationAbsent(Absence.NOT_CONFIGURED, "the service was started without --site")
            answer = await self._asking.ask(row)
        except FederationAbsent as absent:
            text = f"Matches come from this hospital's own gallery only: {absent.detail}"
            notices.append(answers.Notice(code=str(absent.reason), text=text, cause=absent.cause))
            return None
        return self._named(answer, notices)

    def _named(self, answer: FederatedAnswer, notices: list[answers.Notice]) -> answers.Federated:
        """The candidates whose tokens this silo can read; the others keep their ranks and are counted."""
        known = [
            self._candidate(
                match.rank, self.release.tokens[match.token], match.band, "federated", match.handle
            )
            for match in answer.matches
            if match.token in self.release.tokens
        ]
        if unknown := len(answer.matches) - len(known):
            text = f"{unknown} of the federation's candidates are syndromes that this release's vocabulary lacks."
            notices.append(answers.Notice(code="SyndromesUnknown", text=text))
        return answers.Federated(candidates=known, budget_left=answer.budget_left)

    def _candidate(
        self, rank: int, syndrome: str, band: int, source: str, handle: bytes
    ) -> answers.Candidate:
        return answers.Candidate(
            rank=rank,
            syndrome=syndrome,
            name=self.release.names.get(syndrome),
            band=band,
            source=source,
            case=handle.hex(),
        )

    def _answer(
        self,
        seen: _Seen,
        federated: answers.Federated | None,
        notices: list[answers.Notice],
    ) -> answers.Analysis:
        release = self.release
        shown = seen.local + (federated.candidates if federated is not None else [])
        return answers.Analysis(
            notice=answers.NOTICE,
            conclusion=conclude(shown),
            local=answers.Local(candidates=seen.local),
            federated=federated,
            notices=notices,
            quality=answers.Quality(
                width=seen.face.size[0],
                height=seen.face.size[1],
                faces=seen.face.faces,
                box=seen.face.box,
                findings=[
                    answers.Remedy(code=str(finding), fix=REMEDIES[finding]) for finding in seen.face.findings
                ],
            ),
            model=describe_model(release),
            release=answers.ReleaseName(digest=release.digest, name=release.name),
            epoch=release.epoch,
            gallery=answers.Gallery(own=seen.gallery, federation=release.federation_gallery),
        )


def conclude(candidates: list[answers.Candidate]) -> answers.Conclusion:
    """What the lists amount to: where nothing is nearer than the farthest band, there is no convincing match."""
    near = sum(candidate.band < BANDS for candidate in candidates)
    if not near:
        return answers.Conclusion(
            code="NoConvincingMatch",
            text="No convincing match: no case in the galleries is near this photo. The lists below are only an order.",
        )
    return answers.Conclusion(
        code="CandidatesToConsider",
        text=f"{near} candidates have a case that is nearer than the farthest band. None of them is a diagnosis.",
    )


def describe_model(release: Release) -> answers.Model:
    """The extractor as answers name it."""
    return answers.Model(
        bundle=release.bundle.digest,
        preprocessing=PREPROCESSING,
        members=[
            answers.ModelMember(name=spec.name, extractor=spec.extractor) for spec in release.bundle.specs
        ],
    )
