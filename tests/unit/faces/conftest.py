import json
from pathlib import Path

import numpy as np
import pytest
import torch

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def portraits() -> dict[Path, np.ndarray]:
    """Synthetic portraits and their five true landmarks in pixels."""
    truth = json.loads((DATA / "landmarks.json").read_text())
    return {DATA / f"{name}.jpg": np.array(points) for name, points in truth.items()}
