"""lt_bench: the benchmark suite for long-tailed visual recognition."""

__version__ = "0.1.0"
