"""FedProx: Li et al. 2020, arXiv 1812.06127."""

from dataclasses import dataclass

from .fedavg import FedAvg


@dataclass(frozen=True, slots=True)
class FedProx(FedAvg):
    """Silos minimise F_i(w) + mu/2 ||w - w_t||^2 (equation 2); the server averages as FedAvg does.

    The proximal gradient mu (w - w_t) is added in the local step (`steps.py`), not here.
    """
