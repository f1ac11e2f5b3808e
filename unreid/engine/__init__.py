"""Runs a method: loop, hooks, checkpoints, launch."""
