"""Sweeps of runs: what to run, and where."""
