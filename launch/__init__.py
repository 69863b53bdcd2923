"""Sweeps of runs: planned, carried out on this machine or queued on a cluster."""
