import cbor2
import numpy as np
import pytest

from fedgestalt.flake import FlakeError, Frame, RowLimits, SiloRows, label_token, masked_rows, photo_handle
from fedgestalt.flake.codec import MAGIC

KEY = b"k" * 32
ROLES = ["train", "train", "test", "rotating", "undiagnosed"]
SPLITS = [[], [], [], [2], []]


def upload(seed=0, frame_key=b"f" * 32):
    rows = np.random.default_rng(seed).normal(size=(5, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    syndromes = ["SYN:A", "SYN:B", "SYN:A", "SYN:C", None]
    return rows, masked_rows(
        rows,
        tokens=[label_token(KEY, s) if s else None for s in syndromes],
        handles=[photo_handle(KEY, f"{i}.png") for i in range(5)],
        roles=ROLES,
        test_splits=SPLITS,
        splits=3,
        frame=Frame.derive(frame_key, 6, 8),
    )


def with_header(change):
    blob = upload()[1].encode()
    size = int.from_bytes(blob[8:12], "little")
    header = cbor2.loads(blob[12 : 12 + size])
    change(header)
    raw = cbor2.dumps(header, canonical=True)
    return MAGIC + len(raw).to_bytes(4, "little") + raw + blob[12 + size :]


def test_photos_are_sorted_into_gallery_test_and_undiagnosed_rows():
    rows, silo = upload()
    frame = Frame.derive(b"f" * 32, 6, 8)
    handle = [photo_handle(KEY, f"{i}.png") for i in range(5)]
    found = {h.tobytes(): (t.tobytes(), int(s)) for h, t, s in zip(
        silo.gallery.handles, silo.gallery.tokens, silo.gallery.splits, strict=True)}  # fmt: skip
    assert found == {
        handle[0]: (label_token(KEY, "SYN:A"), 0b111),
        handle[1]: (label_token(KEY, "SYN:B"), 0b111),
        handle[3]: (label_token(KEY, "SYN:C"), 0b101),
    }
    tests = {h.tobytes(): int(s) for h, s in zip(silo.test.handles, silo.test.splits, strict=True)}
    assert tests == {handle[2]: 0b111, handle[3]: 0b010}
    assert [h.tobytes() for h in silo.undiagnosed.handles] == [handle[4]]
    np.testing.assert_allclose(silo.undiagnosed.rows[0], frame.apply(rows)[4], atol=1e-15)
    assert silo.count == 6


def test_the_order_of_rows_does_not_follow_the_cohort():
    silo = upload()[1]
    for handles in (silo.gallery.handles, silo.test.handles):
        listed = [h.tobytes() for h in handles]
        assert listed == sorted(listed)


def test_an_upload_survives_encoding_and_has_one_encoding():
    blob = upload()[1].encode()
    again = SiloRows.decode(blob)
    assert again.encode() == blob == upload()[1].encode()
    np.testing.assert_array_equal(again.gallery.rows, upload()[1].gallery.rows)
    assert not again.gallery.rows.flags.writeable


def test_an_upload_holds_neither_identifier_nor_embedding():
    rows, silo = upload()
    blob = silo.encode()
    assert b"SYN:" not in blob
    assert b".png" not in blob
    assert not any(row.tobytes() in blob for row in rows)


def test_a_blob_cut_anywhere_or_with_more_behind_it_is_refused():
    blob = upload()[1].encode()
    for length in range(len(blob)):
        with pytest.raises(FlakeError):
            SiloRows.decode(blob[:length])
    with pytest.raises(FlakeError):
        SiloRows.decode(blob + b"\0")


def test_a_header_that_announces_terabytes_is_refused_before_anything_is_allocated():
    def huge(header):
        header["arrays"][0][2] = [200_000, 65_536]

    with pytest.raises(FlakeError, match="announces"):
        SiloRows.decode(with_header(huge))


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update(kind="other"),
        lambda h: h.update(more=1),
        lambda h: h["meta"].update(splits=True),
        lambda h: h["meta"].update(splits=33),
        lambda h: h["meta"].update(fingerprint=b"short"),
        lambda h: h["meta"].pop("splits"),
        lambda h: h["arrays"].pop(),
        lambda h: h["arrays"].reverse(),
        lambda h: h["arrays"][0].__setitem__(1, "<f4"),
        lambda h: h["arrays"][0].__setitem__(2, [-1, 8]),
        lambda h: h["arrays"][0].__setitem__(2, [3, 8, 1]),
        lambda h: h["arrays"][0].__setitem__(2, [8, 3]),
        lambda h: h.update(arrays={}),
    ],
)
def test_a_header_that_says_anything_unexpected_is_refused(change):
    with pytest.raises(FlakeError):
        SiloRows.decode(with_header(change))


def test_limits_of_rows_and_bytes_hold():
    blob = upload()[1].encode()
    for limits in (RowLimits(rows=5), RowLimits(width=7), RowLimits(bytes=100)):
        with pytest.raises(FlakeError):
            SiloRows.decode(blob, limits)
    assert SiloRows.decode(blob, RowLimits(rows=6, width=8, bytes=len(blob))).count == 6


def test_masked_rows_of_another_length_are_found_by_whoever_holds_them():
    silo = upload()[1]
    silo.check_lengths()
    silo.gallery.rows[1] *= 1.01
    with pytest.raises(FlakeError, match="gallery row 1"):
        silo.check_lengths()
    silo.gallery.rows[1] = np.nan
    with pytest.raises(FlakeError, match="gallery row 1"):
        silo.check_lengths()


def test_a_handle_that_names_two_rows_is_refused():
    with pytest.raises(FlakeError, match="handle names two rows"):
        masked_rows(
            np.eye(2), tokens=[b"t" * 16] * 2, handles=[b"h" * 16] * 2, roles=["train"] * 2,
            test_splits=[[], []], splits=1, frame=Frame.derive(KEY, 2),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("token", "role"), [(None, "train"), (b"t" * 16, "undiagnosed"), (b"short", "train")]
)
def test_tokens_that_do_not_go_with_the_role_are_refused(token, role):
    with pytest.raises(FlakeError, match="token"):
        masked_rows(
            np.eye(1), tokens=[token], handles=[b"h" * 16], roles=[role], test_splits=[[]], splits=1,
            frame=Frame.derive(KEY, 1),
        )  # fmt: skip


def test_a_silo_may_have_no_rows_of_a_class_or_none_at_all():
    frame = Frame.derive(KEY, 4)
    empty = masked_rows(
        np.empty((0, 4)), tokens=[], handles=[], roles=[], test_splits=[], splits=2, frame=frame
    )
    assert SiloRows.decode(empty.encode()).count == 0
    assert SiloRows.decode(empty.encode()).width == 4
