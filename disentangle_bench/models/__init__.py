"""Objectives and networks, written for one run."""
