"""Helpers that know nothing of re-identification."""
