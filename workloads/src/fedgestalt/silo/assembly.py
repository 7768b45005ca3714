"""From the frozen computation to what works on it at one site: the part in the protocol, the results, the workloads."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedgestalt.secagg.computation import Computation
from fedgestalt.secagg.messages import FaultReason, Message
from fedgestalt.silo.admission import Admission
from fedgestalt.silo.base import Base, BaseError, load_base
from fedgestalt.silo.config import SiteConfig
from fedgestalt.silo.counts import CohortUnreadableError, training_photos
from fedgestalt.silo.fetching import BundleFetch
from fedgestalt.silo.part import RoundPart, silo_weight
from fedgestalt.silo.refusal import TaskRefusal
from fedgestalt.silo.results import Results
from fedgestalt.silo.withdrawal import withdrawn_photos
from fedgestalt.silo.workloads import Workloads
from fedgestalt.silo.workplace import Workplace
from fedgestalt.training.parsing import parse_training

log = logging.getLogger(__name__)

Admit = Callable[[bytes, Mapping[str, Any]], None]
"""Raises TaskRefusal where no grant fits the computation of this digest."""


@dataclass(frozen=True)
class Assembly:
    """What works on a round at one site. `admission` and `fetch` are there where newcomers adopt a release."""

    computation: Mapping[str, Any]
    part: RoundPart
    results: Results
    workloads: Workloads
    admission: Admission | None
    fetch: BundleFetch | None


def assemble(place: Workplace, first: Message, admit: Admit) -> Assembly:
    """Put together what works on the round of the board's first message, whose signature holds.

    Raises:
        TaskRefusal: no grant fits, or the base cannot be built on.
        ExchangeError: the computation or the vocabulary could not be fetched.
    """
    site, board = place.site, place.board
    frozen = board.download(place.uid, first.blobs[0])
    parsed = Computation.parse(frozen)
    computation: Mapping[str, Any] = json.loads(frozen)
    spec = computation["spec"]
    admit(parsed.digest, computation)
    base = _load_base(place, computation, first.blobs)
    vocabulary: Mapping[str, Sequence[str]] = json.loads(
        board.download(place.uid, spec["vocabulary"]["digest"].removeprefix("sha256:"))
    )
    photos = _photos(site, spec["dataset"], vocabulary["trained"])
    part = RoundPart(
        name=site.name,
        identity=place.identity,
        computation=parsed,
        training=parse_training(spec["training"]),
        weight=place.first_seen("weight", silo_weight(photos)),
        store=place.store,
        models=place.models,
        outbox=place.outbox,
        board=board,
        hub_key=site.hub_key,
        began=lambda attempt: place.first_seen(f"started/{attempt}", int(time.time())),
    )
    results = Results(
        site,
        part,
        computation=computation,
        frozen=frozen,
        vocabulary=vocabulary,
        base=base,
        board=board,
        models=place.models,
        spool=place.spool,
        vault=place.vault,
        directory=place.directory,
    )
    part.on_evaluation = results.evaluated
    workloads = Workloads(
        site,
        part,
        results,
        spec=spec,
        vocabulary=vocabulary,
        start=None if base is None else base.bundle,
        directory=place.directory,
    )
    if base is None or not results.adopting:
        return Assembly(computation, part, results, workloads, None, None)
    fetch = BundleFetch(place, part, base)
    admission = Admission(part, base, place.vault, fetch.want)
    return Assembly(computation, part, results, workloads, admission, fetch)


def _photos(site: SiteConfig, dataset: str, trained: Sequence[str]) -> int:
    """How many photos this site trains on. One round's cohort that cannot be read is no reason to end the others."""
    try:
        return training_photos(site.datasets[dataset], trained, withdrawn_photos(site))
    except KeyError as error:
        log.error("the site's configuration names no dataset %r, which a grant allows", dataset)
        raise TaskRefusal(FaultReason.DATA_INVALID, f"the site has no dataset {dataset!r}") from error
    except CohortUnreadableError as error:
        log.error("%s", error)
        raise TaskRefusal(
            FaultReason.DATA_INVALID, "the site's cohort cannot be read; its log says why"
        ) from error


def _load_base(place: Workplace, computation: Mapping[str, Any], blobs: Sequence[str]) -> Base | None:
    try:
        return load_base(
            computation,
            blobs,
            silo=place.site.name,
            store=place.site.releases,
            work=place.directory,
            board=place.board,
            hub_key=place.site.hub_key,
        )
    except BaseError as error:
        raise TaskRefusal(error.reason, str(error)) from error
