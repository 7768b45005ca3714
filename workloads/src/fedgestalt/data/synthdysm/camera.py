"""From linear light to a photo: lens blur, white balance, sensor noise, tone curve, JPEG."""

import cv2
import numpy as np
from numpy.typing import NDArray

from .assets import Floats
from .params import Camera


def expose(image: Floats, camera: Camera, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(h, w, 3) linear RGB -> (h, w, 3) uint8 RGB before compression.

    Noise grows with the square root of the light, as photon noise does.
    """
    size = image.shape[0]
    image = np.clip(image, 0, 8)
    if camera.blur > 0:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), camera.blur * size / 160), dtype=np.float32)
    image = image * (camera.white_balance * np.float32(camera.exposure))
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    image = image + grain * np.float32(camera.noise) * np.sqrt(np.clip(image, 0, 1) + np.float32(0.02))
    light = np.maximum(image, 0)
    toned = light * (1 + light / np.float32(6.25)) / (1 + light) * np.float32(1.32)
    shown = np.clip(toned, 0, 1) ** np.float32(1 / 2.2)
    grey = shown.mean(axis=-1, keepdims=True)
    shown = np.clip(grey + (shown - grey) * np.float32(0 if camera.grey else camera.saturation), 0, 1)
    pixels: NDArray[np.uint8] = (shown * 255 + np.float32(0.5)).astype(np.uint8)
    return pixels


def encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG file content of an RGB picture. No metadata is written."""
    done, content = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError("OpenCV could not encode the picture as JPEG")
    return content.tobytes()
