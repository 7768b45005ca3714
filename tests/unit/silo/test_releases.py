"""What the agent says of the releases on its disk, and that it looks again when a file changes."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

import pytest

from fedgestalt.lineage import ReleaseStore, StoredRelease, collect
from fedgestalt.silo.releases import ReleaseChecks, keep_checked
from fedgestalt_operator.plan.handover import checked_of

from ..lineage import federation
from ..lineage.federation import ReleasingHub


@pytest.fixture(scope="module")
def hub() -> ReleasingHub:
    """A whole round with real keys; its bundle is one small file."""
    before = federation.named
    plain = hashlib.sha256(_bundle()).digest()

    def named(*parts: str) -> bytes:
        return plain if parts == ("bundle",) else before(*parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(federation, "named", named)
        return ReleasingHub(4).release()


def _weights(member: str) -> bytes:
    return f"weights of {member}".encode()


def _bundle() -> bytes:
    members = [
        {"name": m, "file": f"{m}.bin", "digest": f"sha256:{hashlib.sha256(_weights(m)).hexdigest()}"}
        for m in ("m0", "frozen")
    ]
    return json.dumps({"members": members}).encode()


@pytest.fixture
def stored(hub: ReleasingHub, tmp_path: Path) -> StoredRelease:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "manifest.json").write_bytes(_bundle())
    for member in ("m0", "frozen"):
        (bundle / f"{member}.bin").write_bytes(_weights(member))
    store = ReleaseStore(tmp_path / "releases")
    return store.put(hub.manifest, hub.blob0, collect(hub.messages), files={"bundle": bundle})


def said(checks: ReleaseChecks, release: StoredRelease) -> tuple[str, str]:
    found = checked_of(checks.look())
    assert found is not None
    assert set(found) == {f"sha256:{release.digest}"}
    (checked,) = found.values()
    return checked.reason.value, checked.message


def test_a_release_that_holds_is_verified_under_the_pinned_key_only(hub, stored):
    folder = stored.folder.parent
    assert said(ReleaseChecks(folder, hub.key.public), stored) == ("SignaturesValid", "")
    reason, message = said(ReleaseChecks(folder, bytes(32)), stored)
    assert reason == "ProofInvalid"
    assert message.startswith("SignatureInvalid: ")
    assert "more: `fedgestalt release verify` names all" in message
    assert str(folder) not in message


def test_each_damage_has_its_reason_and_is_seen_without_a_restart(hub, stored):
    checks = ReleaseChecks(stored.folder.parent, hub.key.public)
    assert said(checks, stored)[0] == "SignaturesValid"
    weights = stored.folder / "bundle" / "m0.bin"
    weights.write_bytes(b"others")
    reason, message = said(checks, stored)
    assert reason == "BundleMismatch"
    assert "m0.bin" in message
    assert str(stored.folder.parent) not in message
    weights.write_bytes(_weights("m0"))
    assert said(checks, stored)[0] == "SignaturesValid"
    proof = stored.folder / "proof.cbor"
    proof.write_bytes(proof.read_bytes()[:-1])
    assert said(checks, stored)[0] == "ProofInvalid"
    manifest = stored.folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert said(checks, stored)[0] == "DigestMismatch"


def test_a_release_that_went_is_not_named_any_more(hub, stored):
    checks = ReleaseChecks(stored.folder.parent, hub.key.public)
    assert said(checks, stored)
    stored.folder.rename(stored.folder.with_name("elsewhere"))
    assert checks.look() == {"releases": {}}


def test_the_file_is_kept_until_the_agent_stops(hub, stored, tmp_path):
    path, stopping = tmp_path / "shared" / "releases.json", threading.Event()
    checks = ReleaseChecks(stored.folder.parent, hub.key.public)
    thread = threading.Thread(target=keep_checked, args=(checks, path, stopping))
    thread.start()
    for _ in range(500):
        if path.exists():
            break
        threading.Event().wait(0.02)
    stopping.set()
    thread.join(10)
    found = checked_of(json.loads(path.read_bytes()))
    assert found is not None
    assert found[f"sha256:{stored.digest}"].valid


@pytest.mark.parametrize(
    "content", [[], {}, {"releases": []}, {"releases": {"x": {"reason": "Fine", "message": ""}}}]
)
def test_what_is_no_word_of_the_agent_is_refused(content):
    with pytest.raises(ValueError, match=r"releases\.json"):
        checked_of(content)
