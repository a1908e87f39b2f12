"""Ways of taking a training step: for one model, or for many at once."""
