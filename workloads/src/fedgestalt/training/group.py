"""The workers of one silo: rank 0 speaks with the agent, the others follow by broadcast."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Group:
    """Rank and size, and broadcasts from rank 0 that do nothing where there is one worker."""

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank = rank
        self.size = size
        self.device = device or torch.device("cpu")

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, the only one with a link to the agent."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over the workers; rank 0's BatchNorm statistics count."""
        if self.size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)

    def number(self, value: int) -> int:
        """Rank 0's integer."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.broadcast(tensor, src=0)
        return int(tensor.item())

    def tensors(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors in place with rank 0's; the same shapes in the same order everywhere."""
        if self.size == 1:
            return
        with torch.no_grad():
            for tensor in tensors:
                moved = tensor.detach().to(self.device, copy=True).contiguous()
                dist.broadcast(moved, src=0)
                tensor.copy_(moved)
