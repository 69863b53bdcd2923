"""``python -m lt_bench``: one run, or a sweep with ``-m``."""

from __future__ import annotations

import sys

from lt_bench.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
