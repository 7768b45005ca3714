"""Server steps of federated learning in plain NumPy: bit-equal on every machine, one strategy per file.

Silos run the step themselves after unblinding the mean update, and compare the hash of the result.
"""

from ..config import StrategyConfig, StrategyType
from .base import State, Strategy
from .fedadam import FedAdam
from .fedavg import FedAvg
from .fedavgm import FedAvgM
from .fedprox import FedProx

__all__ = ["FedAdam", "FedAvg", "FedAvgM", "FedProx", "State", "Strategy", "build_strategy"]


def build_strategy(config: StrategyConfig) -> Strategy:
    """The strategy that a round's configuration names."""
    match config.type:
        case StrategyType.FEDAVG:
            return FedAvg()
        case StrategyType.FEDPROX:
            return FedProx()
        case StrategyType.FEDAVGM:
            return FedAvgM(learning_rate=config.learning_rate, momentum=config.momentum)
        case StrategyType.FEDADAM:
            return FedAdam(
                learning_rate=config.learning_rate, beta1=config.beta1, beta2=config.beta2, tau=config.tau
            )
