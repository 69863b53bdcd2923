"""``python -m lt_bench``, installed as ``lt-bench``: one run, a sweep with ``-m``, or another command."""

from __future__ import annotations

import sys

from lt_bench.cli.commands import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
