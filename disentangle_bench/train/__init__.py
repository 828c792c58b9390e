"""Training: randomness, the step, the loop, encoding."""
