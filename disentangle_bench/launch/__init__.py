"""Launching: one job from specs to scored results, and the places where jobs run."""
