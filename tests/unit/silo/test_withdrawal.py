"""Withdrawing a case: first out of use here, then the hub is told; a hub that is away loses nothing."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedgestalt.crypto.keys import Identity
from fedgestalt.silo.config import SiteConfig, load_site_config
from fedgestalt.silo.counts import training_photos
from fedgestalt.silo.withdrawal import WithdrawalError, settle, withdraw, withdrawn_photos


@pytest.fixture
def site(tmp_path: Path) -> SiteConfig:
    """A site with one cohort and one release, whose exchange is not there."""
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    rows = ["image,patient,syndrome,role,test_splits"]
    rows += [f"p{i}-{k}.jpg,p{i},SYN:F001,train," for i in range(3) for k in range(2)]
    (cohort / "manifest.csv").write_text("\n".join(rows) + "\n")
    Identity.from_seed(bytes(32)).save(tmp_path / "identity.pem")
    (tmp_path / "seed").write_bytes(bytes(32))
    (tmp_path / "ca.pem").write_bytes(certificate())
    content = {
        "name": "west",
        "exchange": {"url": "https://127.0.0.1:9", "ca": str(tmp_path / "ca.pem")},
        "hubKey": Identity.from_seed(b"h" * 32).public.hex(),
        "identity": "identity.pem",
        "grant": "grant.yaml",
        "datasets": {"faces": str(cohort)},
        "seed": "seed",
    }
    (tmp_path / "site.json").write_text(json.dumps(content))
    release = tmp_path / "releases" / ("ab" * 32)
    release.mkdir(parents=True)
    (release / "release.json").write_text(json.dumps({"epoch": "cd" * 32}))
    photos = [f"p{i}-{k}.jpg" for i in range(3) for k in range(2)]
    handles = np.arange(6 * 16, dtype=np.uint8).reshape(6, 16)
    (release / "handles.json").write_text(
        json.dumps({photo: handles[i].tobytes().hex() for i, photo in enumerate(photos)})
    )
    patients = np.array([photo[:2] for photo in photos])
    np.savez(
        release / "gallery.npz",
        photos=np.array(photos),
        patients=patients,
        handles=handles,
        embeddings=np.eye(6),
    )
    return load_site_config(tmp_path / "site.json")


def certificate() -> bytes:
    from tempfile import TemporaryDirectory

    from fedgestalt.exchange.tls import make_tls

    with TemporaryDirectory() as folder:
        return make_tls(Path(folder), ["localhost"]).ca.read_bytes()


def test_a_hub_that_is_away_does_not_keep_the_case_in_use(site: SiteConfig) -> None:
    with pytest.raises(WithdrawalError, match="Call withdraw again"):
        withdraw(site, "p1", deadline=0.5)
    assert withdrawn_photos(site) == {"p1-0.jpg", "p1-1.jpg"}
    with np.load(next(site.releases.iterdir()) / "gallery.npz") as gallery:
        assert list(gallery["photos"]) == ["p0-0.jpg", "p0-1.jpg", "p2-0.jpg", "p2-1.jpg"]
        assert gallery["embeddings"].shape == (4, 6)
        assert len(gallery["handles"]) == 4


def photos_of(folder: Path) -> list[str]:
    with np.load(folder / "gallery.npz") as gallery:
        return list(gallery["photos"])


def later_epoch(site: SiteConfig) -> tuple[Path, Path]:
    """A second release at the site, of an epoch of its own."""
    first = next(site.releases.iterdir())
    second = site.releases / ("cd" * 32)
    shutil.copytree(first, second)
    (second / "release.json").write_text(json.dumps({"epoch": "ef" * 32}))
    return first, second


def test_a_hub_that_is_away_keeps_it_in_use_in_no_epoch(site: SiteConfig) -> None:
    both = later_epoch(site)
    with pytest.raises(WithdrawalError):
        withdraw(site, "p1", deadline=0.5)
    assert [photos_of(folder) for folder in both] == [["p0-0.jpg", "p0-1.jpg", "p2-0.jpg", "p2-1.jpg"]] * 2


def test_an_epoch_that_refuses_does_not_keep_the_others_from_being_told(
    site: SiteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_epoch(site)
    told: list[str] = []

    def tell(site: SiteConfig, epoch: str, folders: Any, deadline: float) -> tuple[int, bool]:
        told.append(epoch[:2])
        if epoch.startswith("cd"):
            raise WithdrawalError("this epoch is not open")
        return 2, True

    monkeypatch.setattr("fedgestalt.silo.withdrawal._tell", tell)
    with pytest.raises(WithdrawalError, match="not open"):
        withdraw(site, "p1")
    assert told == ["cd", "ef"]


def test_a_gallery_that_came_back_in_between_is_shrunk_when_the_hub_is_told(
    site: SiteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = next(site.releases.iterdir())
    whole = (folder / "gallery.npz").read_bytes()
    with pytest.raises(WithdrawalError):
        withdraw(site, "p1", deadline=0.5)
    (folder / "gallery.npz").write_bytes(whole)  # written by a round that had read the list before
    monkeypatch.setattr("fedgestalt.silo.withdrawal._tell", lambda *_: (2, True))
    settle(site)
    assert photos_of(folder) == ["p0-0.jpg", "p0-1.jpg", "p2-0.jpg", "p2-1.jpg"]


def test_one_photo_can_be_withdrawn_and_is_not_counted_again(site: SiteConfig) -> None:
    with pytest.raises(WithdrawalError):
        withdraw(site, "p2-0.jpg", deadline=0.5)
    gone = withdrawn_photos(site)
    assert gone == {"p2-0.jpg"}
    assert training_photos(site.datasets["faces"], ["SYN:F001"], gone) == 5


def test_what_the_hub_has_not_heard_is_said_again(site: SiteConfig) -> None:
    settle(site)  # nothing was withdrawn, nobody is asked
    with pytest.raises(WithdrawalError):
        withdraw(site, "p1", deadline=0.5)
    with pytest.raises(WithdrawalError, match="does not know yet"):
        settle(site, deadline=0.5)


def test_a_patient_whom_the_cohort_lists_no_more_can_still_be_withdrawn(site: SiteConfig) -> None:
    (site.datasets["faces"] / "manifest.csv").write_text("image,patient,syndrome,role,test_splits\n")
    with pytest.raises(WithdrawalError, match="does not know yet"):
        withdraw(site, "p0", deadline=0.5)
    assert withdrawn_photos(site) == {"p0-0.jpg", "p0-1.jpg"}


def test_a_photo_is_meant_whichever_way_the_manifest_writes_it(site: SiteConfig) -> None:
    path = site.datasets["faces"] / "manifest.csv"
    path.write_text(path.read_text().replace("p2-1.jpg", " ./p2-1.jpg"))
    with pytest.raises(WithdrawalError):
        withdraw(site, "p2", deadline=0.5)
    assert withdrawn_photos(site) == {"p2-0.jpg", "p2-1.jpg"}
    assert training_photos(site.datasets["faces"], ["SYN:F001"], withdrawn_photos(site)) == 4


def test_an_unknown_case_is_named_and_nothing_is_written(site: SiteConfig) -> None:
    with pytest.raises(WithdrawalError, match="p9"):
        withdraw(site, "p9")
    assert not site.withdrawn.exists()


def test_a_site_without_withdrawals_has_none(site: SiteConfig) -> None:
    assert withdrawn_photos(site) == frozenset()
