"""Metrics: pure functions of (codes, factors) to scores."""
