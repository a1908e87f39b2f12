"""What a training step costs in time and memory, measured apart from the training runs."""
