"""Whatever is dropped, flipped or altered in a real release is found and named.

Where an alteration needs a key, whoever holds it signs: no signature is weakened to make a test pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedgestalt.crypto.delegation import Delegation
from fedgestalt.crypto.encoding import encode
from fedgestalt.crypto.keys import Identity, SigningKey
from fedgestalt.lineage import Finding, Problem, Proof, VerificationError, verify
from fedgestalt.secagg.kinds import HUB, Kind
from fedgestalt.secagg.messages import RELEASE_PREFIX, Message, sign

from .conftest import Released

OTHER = bytes(range(32))
SILO = "silo-01"
BY_HUB = (
    Kind.COMPUTATION, Kind.ROSTER, Kind.ENROLLED, Kind.SURVIVORS, Kind.ADVANCE, Kind.ROWS_CLOSED, Kind.MANIFEST,
    Kind.RELEASED,
)  # fmt: skip
BY_SILO = (Kind.ENROL, Kind.ENDORSE, Kind.ACCEPT, Kind.MODEL, Kind.ROWS, Kind.SCORE, Kind.SIGN)


def problems(
    release: Released,
    *,
    manifest: bytes | None = None,
    computation: bytes | None = None,
    proof: bytes | None = None,
    parent: bytes | None = None,
) -> list[Finding]:
    """What verification finds; empty when the release verifies."""
    found: tuple[Problem, ...] = ()
    try:
        verify(
            manifest or release.manifest,
            computation or release.computation,
            proof or release.proof,
            hub_key=release.hub_key,
            identities=release.identities,
            parent=parent,
        )
    except VerificationError as error:
        found = error.problems
    assert all(problem.detail for problem in found)
    return [problem.finding for problem in found]


def messages(release: Released) -> list[Message]:
    return list(Proof.parse(release.proof).messages)


def packed(altered: Iterable[Message]) -> bytes:
    return encode([message.encode() for message in altered])


def is_first(release: Released, kind: Kind, sender: str) -> Callable[[Message], bool]:
    first = next(m for m in messages(release) if (m.slot.kind, m.slot.sender) == (kind, sender))
    return lambda message: message.slot == first.slot


def key_of(release: Released, message: Message) -> SigningKey:
    """The key that this message is rightly signed with."""
    if message.slot.sender == HUB:
        return release.hub.key
    agent = release.hub.agents[message.slot.sender]
    return agent.identity if message.slot.kind is Kind.ENROL else agent.session._pen.key


def with_body(release: Released, kind: Kind, sender: str, **changes: Any) -> bytes:
    """The proof with the first such message changed and signed anew by its own sender."""
    wanted = is_first(release, kind, sender)
    altered = []
    for message in messages(release):
        if wanted(message):
            body = {**message.body, **changes}
            message = sign(message.slot, body, message.blobs, key_of(release, message))
        altered.append(message)
    return packed(altered)


@pytest.mark.parametrize("kind", [*BY_HUB, *BY_SILO])
def test_an_envelope_whose_signature_was_flipped_is_named(release: Released, kind: Kind) -> None:
    wanted = is_first(release, kind, HUB if kind in BY_HUB else SILO)
    altered = [
        replace(m, signature=bytes([m.signature[0] ^ 1]) + m.signature[1:]) if wanted(m) else m
        for m in messages(release)
    ]
    assert problems(release, proof=packed(altered)) == [Finding.SIGNATURE_INVALID]


@pytest.mark.parametrize("kind", BY_HUB)
def test_a_decision_of_the_hub_that_was_dropped_is_missed(release: Released, kind: Kind) -> None:
    wanted = is_first(release, kind, HUB)
    found = problems(release, proof=packed(m for m in messages(release) if not wanted(m)))
    assert Finding.MESSAGE_MISSING in found


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        (Kind.ENROL, Finding.MESSAGE_MISSING),
        (Kind.ENDORSE, Finding.MESSAGE_MISSING),
        (Kind.ROWS, Finding.MESSAGE_MISSING),
        (Kind.SCORE, Finding.MESSAGE_MISSING),
        (Kind.SIGN, Finding.SIGNERS_MISMATCH),
    ],
)
def test_a_silos_message_that_was_dropped_is_missed(release: Released, kind: Kind, finding: Finding) -> None:
    wanted = is_first(release, kind, SILO)
    assert finding in problems(release, proof=packed(m for m in messages(release) if not wanted(m)))


@pytest.mark.parametrize("kind", [Kind.ACCEPT, Kind.MODEL, Kind.SIGN])
def test_fewer_silos_than_needed_behind_a_survivor_set_a_model_or_the_manifest_are_named(
    release: Released, kind: Kind
) -> None:
    """Three of four are needed: dropping two leaves too few, dropping one of the first two kinds does not matter."""
    one = packed(m for m in messages(release) if (m.slot.kind, m.slot.sender) != (kind, SILO))
    two = packed(
        m for m in messages(release) if m.slot.kind is not kind or m.slot.sender in ("silo-00", "silo-02")
    )
    assert (problems(release, proof=one) == []) == (kind is not Kind.SIGN)
    assert Finding.QUORUM_MISSED in problems(release, proof=two)


@pytest.mark.parametrize(
    ("kind", "changes", "finding"),
    [
        (Kind.COMPUTATION, {"digest": OTHER}, Finding.COMPUTATION_MISMATCH),
        (Kind.ROSTER, {"silos": ["silo-00", "silo-01", "silo-02"]}, Finding.ROSTER_MISMATCH),
        (Kind.ENROLLED, {"silos": ["silo-00", "silo-01", "silo-02"]}, Finding.ROSTER_MISMATCH),
        (Kind.ENROLLED, {"h": OTHER}, Finding.HANDSHAKE_MISMATCH),
        (Kind.SURVIVORS, {"silos": ["silo-00", "silo-01", "silo-02"]}, Finding.SURVIVORS_MISMATCH),
        (Kind.ADVANCE, {"hash": OTHER}, Finding.MODEL_MISMATCH),
        (Kind.ROWS_CLOSED, {"silos": ["silo-00", "silo-01", "silo-02"]}, Finding.ROWS_MISMATCH),
        (Kind.MANIFEST, {"digest": OTHER}, Finding.DIGEST_MISMATCH),
        (Kind.RELEASED, {"digest": OTHER}, Finding.DIGEST_MISMATCH),
        (Kind.RELEASED, {"signers": ["silo-00", "silo-09"]}, Finding.SIGNERS_MISMATCH),
    ],
)
def test_a_hub_that_signs_two_stories_is_found_out(
    release: Released, kind: Kind, changes: dict[str, Any], finding: Finding
) -> None:
    assert problems(release, proof=with_body(release, kind, HUB, **changes)) == [finding]


@pytest.mark.parametrize(
    ("kind", "changes", "finding"),
    [
        (Kind.ENROL, {"weight": 13}, Finding.ROSTER_MISMATCH),
        (Kind.ENROL, {"commitment": OTHER}, Finding.HANDSHAKE_MISMATCH),
        (Kind.ENROL, {"delegation": bytes(64)}, Finding.DELEGATION_INVALID),
        (Kind.ENROL, {"not_after": 7}, Finding.DELEGATION_INVALID),
        (Kind.ENDORSE, {"h": OTHER}, Finding.HANDSHAKE_MISMATCH),
        (Kind.ROWS, {"gallery": 4}, Finding.ROWS_MISMATCH),
        (Kind.ROWS, {"digest": OTHER}, Finding.ROWS_MISMATCH),
        (Kind.ROWS, {"bundle": OTHER}, Finding.ROWS_MISMATCH),
        (Kind.ROWS, {"sealed": OTHER}, Finding.ROWS_MISMATCH),
        (Kind.ROWS, {"epoch_check": OTHER}, Finding.ROWS_MISMATCH),
        (Kind.ROWS, {"data": OTHER}, Finding.ROWS_MISMATCH),
        (Kind.SCORE, {"table": b"{}"}, Finding.EVALUATION_MISMATCH),
        (Kind.SIGN, {"digest": OTHER}, Finding.DIGEST_MISMATCH),
        (Kind.SIGN, {"signature": bytes(64)}, Finding.SIGNATURE_INVALID),
    ],
)
def test_a_silo_that_signs_two_stories_is_found_out(
    release: Released, kind: Kind, changes: dict[str, Any], finding: Finding
) -> None:
    found = problems(release, proof=with_body(release, kind, SILO, **changes))
    assert finding in found


def test_keys_delegated_for_another_enrolment_are_not_believed(release: Released) -> None:
    agent = release.hub.agents[SILO]
    body = next(m.body for m in messages(release) if (m.slot.kind, m.slot.sender) == (Kind.ENROL, SILO))
    elsewhere = Delegation(
        release.hub.round.metadata.uid, 2, SILO, body["signing"], body["sealing"], body["not_after"]
    )
    proof = with_body(release, Kind.ENROL, SILO, delegation=elsewhere.sign(agent.identity))
    assert problems(release, proof=proof) == [Finding.DELEGATION_INVALID]


def test_a_silo_that_the_hub_invents_under_a_known_name_is_not_believed(release: Released) -> None:
    """All its messages made anew under keys of the hub's: even so it cannot endorse and sign as the real one."""
    mallory, keys = Identity.generate(), SigningKey.generate()
    altered = []
    for message in messages(release):
        body, key = dict(message.body), keys
        if message.slot.sender != SILO:
            altered.append(message)
            continue
        if message.slot.kind is Kind.ENROL:
            body |= {"identity": mallory.public, "signing": keys.public}
            made = Delegation(message.slot.round, 1, SILO, keys.public, body["sealing"], body["not_after"])
            body["delegation"], key = made.sign(mallory), mallory
        if message.slot.kind is Kind.SIGN:
            body["signature"] = keys.sign(RELEASE_PREFIX + body["digest"])
        altered.append(sign(message.slot, body, message.blobs, key))
    found = set(problems(release, proof=packed(altered)))
    assert found == {Finding.IDENTITY_MISMATCH, Finding.HANDSHAKE_MISMATCH}


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda m: m.update(round="another"), Finding.ROUND_MISMATCH),
        (lambda m: m.update(enrolment=2), Finding.ROUND_MISMATCH),
        (lambda m: m.update(name="another"), Finding.COMPUTATION_MISMATCH),
        (lambda m: m.update(operation="Rotate"), Finding.COMPUTATION_MISMATCH),
        (lambda m: m.update(computation=OTHER.hex()), Finding.COMPUTATION_MISMATCH),
        (lambda m: m.update(software={"version": "9"}), Finding.COMPUTATION_MISMATCH),
        (lambda m: m.update(parents=[OTHER.hex()]), Finding.PARENT_MISMATCH),
        (lambda m: m.update(h=OTHER.hex()), Finding.HANDSHAKE_MISMATCH),
        (lambda m: m.update(epoch=OTHER.hex()), Finding.EPOCH_MISMATCH),
        (lambda m: m.update(epochCheck=OTHER.hex()), Finding.ROWS_MISMATCH),
        (lambda m: m["bundle"].update(digest=OTHER.hex()), Finding.ROWS_MISMATCH),
        (lambda m: m["bundle"].update(plain=f"sha256:{OTHER.hex()}"), Finding.ROWS_MISMATCH),
        (lambda m: m["roster"][SILO].update(weight=99), Finding.ROSTER_MISMATCH),
        (lambda m: m["roster"][SILO].update(identity=OTHER.hex()), Finding.IDENTITY_MISMATCH),
        (lambda m: m["roster"][SILO].update(data=OTHER.hex()), Finding.ROWS_MISMATCH),
        (lambda m: m["roster"].update({"silo-09": {"weight": 12}}), Finding.ROSTER_MISMATCH),
        (lambda m: m["members"].pop(), Finding.MEMBERS_MISMATCH),
        (lambda m: m["members"][0].update(rounds=m["members"][0]["rounds"][:1], model=None), None),
        (lambda m: m["members"][0]["rounds"][0].update(model=OTHER.hex()), Finding.MODEL_MISMATCH),
        (lambda m: m["members"][0]["rounds"][0]["survivors"].pop(), Finding.SURVIVORS_MISMATCH),
        (
            lambda m: m["members"][0]["rounds"].__setitem__(0, {"t": 1, "skipped": True}),
            Finding.MODEL_MISMATCH,
        ),
        (lambda m: m["rows"][SILO].update(gallery=99), Finding.ROWS_MISMATCH),
        (lambda m: m["rows"][SILO].update(digest=OTHER.hex()), Finding.ROWS_MISMATCH),
        (lambda m: m["rows"].pop(SILO), Finding.ROWS_MISMATCH),
        (lambda m: m["evaluation"].update(digest=OTHER.hex()), Finding.EVALUATION_MISMATCH),
        (lambda m: m["evaluation"]["aggregation"]["survivors"].pop(), Finding.SURVIVORS_MISMATCH),
        (lambda m: m.update(evaluation=None), Finding.EVALUATION_MISMATCH),
    ],
)
def test_a_manifest_that_says_something_else_is_found_out(
    release: Released, change: Callable[[dict[str, Any]], Any], finding: Finding | None
) -> None:
    """By its digest in any case, and by the part that is not true where it is not merely malformed."""
    document = json.loads(release.manifest)
    change(document)
    found = problems(release, manifest=rfc8785.dumps(document))
    if finding is None:
        assert found == [Finding.MANIFEST_MALFORMED]
    else:
        assert {finding, Finding.DIGEST_MISMATCH} <= set(found)


def test_a_communication_round_that_the_manifest_hides_is_found_out(release: Released) -> None:
    document = json.loads(release.manifest)
    member = document["members"][0]
    member["rounds"].pop()
    member["model"] = member["rounds"][-1]["model"]
    found = problems(release, manifest=rfc8785.dumps(document))
    assert found.count(Finding.MEMBERS_MISMATCH) == 2


def test_another_computation_is_found_out_although_it_is_well_formed(release: Released) -> None:
    document = json.loads(release.computation)
    document["spec"]["purpose"] = "DUO:0000007"
    found = set(problems(release, computation=rfc8785.dumps(document)))
    assert {Finding.COMPUTATION_MISMATCH, Finding.HANDSHAKE_MISMATCH} <= found


def test_parts_that_cannot_be_read_are_reported_together(release: Released) -> None:
    found = problems(release, manifest=release.manifest + b" ", computation=b"{}", proof=release.proof[:-1])
    assert found == [
        Finding.MANIFEST_MALFORMED, Finding.COMPUTATION_MALFORMED, Finding.PROOF_MALFORMED,
    ]  # fmt: skip


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("part", ["manifest", "computation", "proof"])
def test_no_bit_of_any_part_can_be_flipped_unseen(release: Released, part: str, data: st.DataObject) -> None:
    content = bytearray(getattr(release, part))
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    content[place // 8] ^= 1 << place % 8
    assert problems(release, **{part: bytes(content)})


@pytest.mark.parametrize(
    "base",
    [
        7,
        [],
        {},
        {"silos": 7},
        {"digest": 1, "epoch": "", "silos": []},
        {"digest": "", "epoch": "", "silos": [1]},
    ],
)
def test_a_computation_with_a_malformed_base_is_named(release: Released, base: object) -> None:
    document = json.loads(release.computation) | {"base": base}
    found = problems(release, computation=rfc8785.dumps(document))
    assert found == [Finding.COMPUTATION_MALFORMED]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda s: s.pop("training"), Finding.COMPUTATION_MALFORMED),
        (lambda s: s.update(training=7), Finding.COMPUTATION_MALFORMED),
        (lambda s: s["training"].update(members=[7]), Finding.COMPUTATION_MALFORMED),
        (lambda s: s["training"].update(communicationRounds=None), Finding.COMPUTATION_MALFORMED),
        (lambda s: s["training"].update(communicationRounds=3), Finding.MEMBERS_MISMATCH),
        (lambda s: s.update(base=7), Finding.COMPUTATION_MISMATCH),
        (lambda s: s.update(base={"digest": "aa"}), Finding.PARENT_MISMATCH),
    ],
)
def test_a_computation_whose_spec_is_malformed_or_asks_for_something_else_is_named(
    release: Released, change: Callable[[dict[str, Any]], Any], finding: Finding
) -> None:
    document = json.loads(release.computation)
    change(document["spec"])
    assert finding in problems(release, computation=rfc8785.dumps(document))


@pytest.mark.parametrize(
    ("kind", "sender", "finding"),
    [
        (Kind.ADMIT, "silo-02", Finding.MESSAGE_MISSING),
        (Kind.ROWS, "silo-04", Finding.MESSAGE_MISSING),
    ],
)
def test_an_adopted_release_lacks_nothing(
    release: Released, adopted: Released, kind: Kind, sender: str, finding: Finding
) -> None:
    wanted = is_first(adopted, kind, sender)
    proof = packed(m for m in messages(adopted) if not wanted(m))
    assert problems(adopted, proof=proof, parent=release.manifest) == [finding]


@pytest.mark.parametrize("changes", [{"epoch": OTHER}, {"newcomers": {}}, {"newcomers": {"silo-04": OTHER}}])
def test_an_admission_of_somebody_else_or_to_another_epoch_is_none(
    release: Released, adopted: Released, changes: dict[str, Any]
) -> None:
    proof = with_body(adopted, Kind.ADMIT, SILO, **changes)
    assert problems(adopted, proof=proof, parent=release.manifest) == [Finding.ADMISSION_MISMATCH]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["rows"]["silo-00"].update(gallery=99),
        lambda m: m["rows"].pop("silo-00"),
        lambda m: m["members"][0].update(model=OTHER.hex()),
        lambda m: m["bundle"].update(plain=f"sha256:{OTHER.hex()}"),
        lambda m: m["roster"]["silo-00"].update(data=OTHER.hex()),
    ],
)
def test_what_an_adopted_release_takes_over_is_the_parents(
    release: Released, adopted: Released, change: Callable[[dict[str, Any]], Any]
) -> None:
    document = json.loads(adopted.manifest)
    change(document)
    if document["members"][0]["model"] == OTHER.hex():
        document["members"][0]["rounds"] = []
    found = problems(adopted, manifest=rfc8785.dumps(document), parent=release.manifest)
    assert Finding.PARENT_MISMATCH in found


def test_a_rotated_release_with_other_models_than_its_parents_is_found_out(
    release: Released, rotated: Released
) -> None:
    document = json.loads(rotated.manifest)
    document["members"][0]["rounds"] = []
    found = problems(rotated, manifest=rfc8785.dumps(document), parent=release.manifest)
    assert Finding.PARENT_MISMATCH in found
