"""Measurements: scripts, and the baselines that the demonstration and the tests compare with."""
