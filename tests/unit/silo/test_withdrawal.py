"""Withdrawing a case: first out of use here, then the hub is told; a hub that is away loses nothing."""

import json
from pathlib import Path

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
