"""The same grid of runs as people train it today: Hydra, Ray Tune and Optuna, each around a typical loop."""
