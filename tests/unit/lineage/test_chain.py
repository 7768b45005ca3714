"""What a newcomer verifies of a release: itself and all that it continues, with one clear error where that breaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.lineage import ChainError, Parts, ReleaseStore, Verified, ancestors, chain, verify_chain
from fedgestalt.silo.base import Base, BaseError, load_base
from fedgestalt_operator.api.round import Operation
from fedgestalt_operator.hub.releases import HubReleases
from fedgestalt_operator.plan import BaseRelease

from .conftest import Released, released
from .federation import ReleasingHub


@pytest.fixture(scope="session")
def joined(rotated: Released) -> Released:
    """A fourth silo adopts the rotated release: two releases stand behind it."""
    return released(ReleasingHub(4, operation=Operation.ADOPT, base=rotated.hub).release())


@pytest.fixture
def line(joined: Released, rotated: Released, release: Released) -> tuple[Released, ...]:
    """The latest release first."""
    return joined, rotated, release


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def parts(r: Released) -> Parts:
    return Parts(r.manifest, r.computation, r.proof)


def given(*older: Parts) -> Callable[[int, str], Parts | None]:
    return lambda generation, _: older[generation - 1] if generation <= len(older) else None


def check(
    line: Sequence[Released], *older: Parts, pinned: Callable[[str], bytes | None] | None = None
) -> Verified:
    return verify_chain(
        parts(line[0]),
        hub_key=line[0].hub_key,
        identities=line[0].identities,
        fetch=given(*older),
        pinned=pinned or (lambda _: None),
    )


def test_a_chain_back_to_the_first_release_leaves_nothing_on_trust(line: tuple[Released, ...]) -> None:
    result = check(line, parts(line[1]), parts(line[2]))
    assert result.unpinned == ()
    assert result.manifest.digest == digest(line[0].manifest)


def test_a_chain_ends_at_a_release_that_is_held_already(line: tuple[Released, ...]) -> None:
    held = {digest(line[1].manifest): line[1].manifest}
    assert check(line, pinned=held.get).unpinned == ()


@pytest.mark.parametrize("kept", [0, 1])
def test_a_missing_release_is_named_with_how_far_back_it_is(line: tuple[Released, ...], kept: int) -> None:
    missing = digest(line[kept + 1].manifest)[:12]
    with pytest.raises(ChainError, match=f"release {missing}, {kept + 1} back, is missing"):
        check(line, *map(parts, line[1 : kept + 1]))


def test_another_release_does_not_pass_for_the_parent(line: tuple[Released, ...], adopted: Released) -> None:
    with pytest.raises(ChainError, match="1 back: what was given has another digest"):
        check(line, parts(adopted), parts(line[2]))


def test_what_is_wrong_far_back_is_found_and_named(line: tuple[Released, ...], adopted: Released) -> None:
    broken = replace(parts(line[2]), proof=adopted.proof)
    with pytest.raises(ChainError, match=f"release {digest(line[2].manifest)[:12]}, 2 back: "):
        check(line, parts(line[1]), broken)
    with pytest.raises(ChainError, match="2 back: ProofMalformed"):
        check(line, parts(line[1]), replace(parts(line[2]), proof=b""))


def test_a_name_cannot_have_other_keys_further_back(release: Released) -> None:
    """A hub that makes up the first release, silos and all, and then trains on with the true ones."""
    invented = ReleasingHub(4)
    invented.key = release.hub.key
    invented = invented.release()
    later = ReleasingHub(3, operation=Operation.ROTATE, base=invented)
    for name, agent in later.agents.items():
        agent.identity = release.hub.agents[name].identity
        later.silos[name] = replace(later.silos[name], identity=agent.identity.public.hex())
    later = later.release()
    with pytest.raises(ChainError, match="1 back: IdentityMismatch"):
        check([released(later)], parts(released(invented)))


def test_a_chain_that_is_too_long_is_refused(
    line: tuple[Released, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "MAX_GENERATIONS", 1)
    with pytest.raises(ChainError, match="more than 1 releases stand behind it; a Train round without base"):
        check(line, parts(line[1]), parts(line[2]))


# the way from the hub's store over the board to a newcomer


class Board:
    """Blobs by digest, of one round."""

    def __init__(self, blobs: Sequence[bytes]) -> None:
        self.blobs = {digest(blob): blob for blob in blobs}

    def download(self, _: str, named: str) -> bytes:
        return self.blobs[named]


@pytest.fixture
def hub(tmp_path: Path, line: tuple[Released, ...]) -> ReleaseStore:
    store = ReleaseStore(tmp_path / "hub")
    for r in reversed(line):
        folder = store.put(r.manifest, r.computation, r.proof).folder
        (folder / "bundle.sealed").write_bytes(b"sealed")
    return store


def adopt(tmp_path: Path, hub: ReleaseStore, line: Sequence[Released], *, without: int = 0) -> Base | None:
    """A newcomer's base in an Adopt round of the latest release, from what the hub puts on the board."""
    latest = line[0]
    content = json.loads(latest.manifest)
    base = BaseRelease(digest(latest.manifest), content, json.loads(latest.computation))
    paths = HubReleases(hub.folder, None, None).parts(base)  # type: ignore[arg-type]
    silos = {name: key.hex() for name, key in latest.identities.items()}
    computation = {
        "round": "adopting",
        "silos": {**silos, "new": Identity.generate().public.hex()},
        "base": {"digest": base.digest, "epoch": content["epoch"], "silos": sorted(content["rows"])},
        "spec": {"operation": "Adopt"},
    }
    blobs = [b"computation", b"vocabulary", *(path.read_bytes() for path in paths)]
    named = [digest(blob) for blob in blobs]
    if without:
        del named[without]
    return load_base(
        computation,
        named,
        silo="new",
        store=tmp_path / "own",
        work=tmp_path / "work",
        board=Board(blobs),  # type: ignore[arg-type]
        hub_key=latest.hub_key,
    )


def test_the_hub_gives_newcomers_all_that_a_release_continues(
    tmp_path: Path, hub: ReleaseStore, line: tuple[Released, ...]
) -> None:
    assert [r.digest for r in ancestors(hub, hub.get(digest(line[0].manifest)))] == [
        digest(r.manifest) for r in line[1:]
    ]
    base = adopt(tmp_path, hub, line)
    assert base is not None
    assert base.digest == digest(line[0].manifest)
    assert not base.member
    assert adopt(tmp_path, hub, line) == base, "again, from the disk"


@pytest.mark.parametrize("without", [5, 6, 8, 10])
def test_a_newcomer_refuses_a_base_whose_chain_is_incomplete(
    tmp_path: Path, hub: ReleaseStore, line: tuple[Released, ...], without: int
) -> None:
    with pytest.raises(BaseError, match="back") as error:
        adopt(tmp_path, hub, line, without=without)
    assert error.value.reason == "ReleaseUnverified"


def test_a_newcomer_that_kept_an_older_release_needs_nothing_behind_it(
    tmp_path: Path, hub: ReleaseStore, line: tuple[Released, ...]
) -> None:
    ReleaseStore(tmp_path / "own").put(line[1].manifest, line[1].computation, line[1].proof)
    cut = [line[0], SimpleNamespace()]
    assert adopt(tmp_path, hub, cut, without=8) is not None
