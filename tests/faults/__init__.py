"""Faults that are put into the code, one at a time: a test that cannot notice one of them is no test of that line."""
