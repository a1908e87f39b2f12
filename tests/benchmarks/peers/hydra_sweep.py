"""A plain Hydra application, swept with --multirun and the joblib launcher."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from tests.benchmarks.peers.typical import train


@hydra.main(version_base="1.3", config_path=None)
def main(config: DictConfig) -> float:
    """Train one job of the sweep."""
    return train(config.optimizer, config.lr, config.seed)


if __name__ == "__main__":
    main()
