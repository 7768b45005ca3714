from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    """A path for the agent's socket; its folder is made by whoever listens."""
    return tmp_path / "agent" / "link.sock"
