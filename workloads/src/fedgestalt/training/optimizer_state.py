"""An optimizer's moments by parameter name, so that they survive restarts and communication rounds."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def moments(module: nn.Module, optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """`<moment>/<parameter>` to tensor, in order of parameters; missing ones (no step yet) are made as zeros.

    The tensors are the optimizer's own: writing into them changes its state.
    """
    found: dict[str, Tensor] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        state = optimizer.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        found |= {f"{moment}/{name}": state[moment] for moment in _MOMENTS}
    return found


def restore_moments(module: nn.Module, optimizer: torch.optim.Adam, saved: Mapping[str, Tensor]) -> None:
    """Put saved moments back.

    Raises:
        KeyError: where one is missing.
    """
    with torch.no_grad():
        for name, tensor in moments(module, optimizer).items():
            tensor.copy_(saved[name])
