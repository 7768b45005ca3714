"""What a photo may be, and what is said of one that is not fit."""

import asyncio
import io
import tempfile
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from starlette.requests import Request

from fedgestalt.faces.quality import REMEDIES, Finding
from fedgestalt.serving import uploads
from fedgestalt.serving.problems import Code, Problem
from fedgestalt.serving.uploads import MAX_BYTES

from .conftest import CLASSES, JPEG, Serve, jpeg, rendered

URL = "/v1/analyses"


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    return rendered(3, 1, 1)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _refused(client: TestClient, pixels: NDArray[np.uint8], **params: bool) -> list[str]:
    answer = client.post(URL, content=jpeg(pixels), headers=JPEG, params=params)
    assert answer.status_code == 422, answer.text
    content = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert content["code"] == "PhotoUnfit"
    for finding in content["findings"]:
        assert finding["fix"] == REMEDIES[Finding(finding["code"])]
    return [finding["code"] for finding in content["findings"]]


def test_body_form_and_png_give_the_same_answer(client: TestClient, face: NDArray[np.uint8]) -> None:
    raw = client.post(URL, content=jpeg(face), headers=JPEG)
    form = client.post(URL, files={"photo": ("any.jpg", jpeg(face), "image/jpeg")})
    assert raw.status_code == 200, raw.text
    assert form.json() == raw.json()
    lossless = client.post(URL, content=_png(Image.fromarray(face)), headers={"content-type": "image/png"})
    assert lossless.json()["local"]["candidates"][0] == raw.json()["local"]["candidates"][0]


def test_a_photo_is_turned_upright_by_its_orientation(client: TestClient, face: NDArray[np.uint8]) -> None:
    tall = np.pad(face, ((0, 40), (0, 0), (0, 0)))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side: to be turned clockwise
    lying = jpeg(np.ascontiguousarray(np.rot90(tall)), exif=exif)
    content = client.post(URL, content=lying, headers=JPEG).json()
    assert (content["quality"]["width"], content["quality"]["height"]) == (256, 296)
    assert content["local"]["candidates"][0]["syndrome"] == CLASSES[3].name


def test_a_photo_without_a_face_is_refused_whatever_is_asked(client: TestClient) -> None:
    blank = np.full((256, 256, 3), 128, dtype=np.uint8)
    assert _refused(client, blank) == ["no-face"]
    assert _refused(client, blank, proceed=True) == ["no-face"]


def test_two_people_are_refused_unless_the_clinician_goes_on(
    client: TestClient, face: NDArray[np.uint8]
) -> None:
    both = np.concatenate([face, cv2.resize(rendered(1, 0), (200, 256))], axis=1)
    assert "several-faces" in _refused(client, both)
    answer = client.post(URL, content=jpeg(both), headers=JPEG, params={"proceed": True}).json()
    assert answer["quality"]["faces"] == 2
    assert "several-faces" in [finding["code"] for finding in answer["quality"]["findings"]]
    assert answer["local"]["candidates"][0]["syndrome"] == CLASSES[3].name


def test_blurred_tilted_and_tiny_faces_are_refused(client: TestClient, face: NDArray[np.uint8]) -> None:
    assert "blurred" in _refused(client, cv2.GaussianBlur(face, (0, 0), 7))
    centre = cv2.getRotationMatrix2D((128, 128), 40, 0.9)
    assert "head-tilted" in _refused(client, cv2.warpAffine(face, centre, (256, 256)))
    assert "face-too-small" in _refused(client, cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA))


def test_light_is_reported_but_refuses_nobody(client: TestClient, face: NDArray[np.uint8]) -> None:
    answer = client.post(URL, content=jpeg(face // 5), headers=JPEG)
    assert answer.status_code == 200, answer.text
    assert [finding["code"] for finding in answer.json()["quality"]["findings"]] == ["too-dark"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "image/jpeg", 400, "PhotoMissing"),
        (b"GIF89a", "image/gif", 415, "PhotoTypeUnsupported"),
        (b"x", "", 415, "PhotoTypeUnsupported"),
        (b"GIF89a" + bytes(99), "image/png", 422, "PhotoUnreadable"),
        (b"\xff\xd8\xff" + bytes(999), "image/jpeg", 422, "PhotoUnreadable"),
        (_png(Image.new("1", (9000, 9000))), "image/png", 422, "PhotoUnreadable"),
        (b"\xff\xd8\xff" + bytes(MAX_BYTES), "image/jpeg", 413, "PhotoTooLarge"),
        (b"--b--", "multipart/form-data; boundary=b", 400, "PhotoMissing"),
        (b"nonsense", "multipart/form-data; boundary=b", 400, "Invalid"),
        (b"--b--", "multipart/form-data", 400, "Invalid"),
    ],
)
def test_what_is_no_photo_gets_a_stable_code(
    client: TestClient, content: bytes, kind: str, status: int, code: str
) -> None:
    answer = client.post(URL, content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["fix"]
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"image": ("a.jpg", b"\xff\xd8\xff", "image/jpeg")}, "PhotoMissing"),
        ({"photo": ("a.gif", b"GIF89a", "image/gif")}, "PhotoTypeUnsupported"),
        ({"photo": ("a.jpg", b"", "image/jpeg")}, "PhotoMissing"),
        ({"photo": (None, b"text")}, "Invalid"),
        ({"photo": ("a.jpg", b"a", "image/jpeg"), "second": ("b.jpg", b"b", "image/jpeg")}, "Invalid"),
        ({"photo": ("a.jpg", bytes(MAX_BYTES + 1), "image/jpeg")}, "PhotoTooLarge"),
    ],
)
def test_a_form_needs_one_photo(
    client: TestClient, files: dict[str, tuple[str, bytes, str]], code: str
) -> None:
    answer = client.post(URL, files=files)
    assert answer.json()["code"] == code, answer.text


def test_the_limit_holds_without_a_stated_length(client: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        yield from (bytes(1 << 20) for _ in range(MAX_BYTES >> 20))
        yield b"one more"

    answer = client.post(URL, content=chunks(), headers=JPEG)
    assert answer.json()["code"] == "PhotoTooLarge"


def _arriving(*messages: dict[str, object]) -> Request:
    """A request whose body comes in these messages, and then nothing."""
    waiting = list(messages)

    async def receive() -> dict[str, object]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    headers = [(b"content-type", b"image/jpeg")]
    return Request({"type": "http", "method": "POST", "path": URL, "headers": headers}, receive)


def test_an_upload_that_stops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "TIMEOUT", 0.01)
    begun = {"type": "http.request", "body": b"\xff\xd8\xff", "more_body": True}
    for messages, code in (
        ((begun,), Code.UPLOAD_TIMED_OUT),
        ((begun, {"type": "http.disconnect"}), Code.INVALID),
    ):
        with pytest.raises(Problem) as caught:
            asyncio.run(uploads.read_photo(_arriving(*messages)))
        assert caught.value.code is code


def test_a_large_form_is_never_spooled_to_disk(
    client: TestClient, face: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rollover(self: object) -> None:
        raise AssertionError("a photo went to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    noise = np.random.default_rng(0).integers(0, 40, (1400, 1400, 3), dtype=np.uint8)
    noise[:256, :256] = face
    photo = _png(Image.fromarray(noise))
    assert len(photo) > 3 << 20
    answer = client.post(URL, files={"photo": ("any.png", photo, "image/png")})
    assert answer.status_code in (200, 422), answer.text
