"""``python held.py WORDS``: ``python WORDS`` with a cluster's signals held back until somebody listens to them.

The process of a job needs seconds to start, on a busy file system minutes; a warning that came meanwhile would end it,
and the job with it as failed. What is held back is delivered when ``unblock`` is called. Run by its path, so that
nothing else is imported first.
"""

from __future__ import annotations

import os
import signal
import sys

BLOCKED = (signal.SIGUSR2, signal.SIGTERM)


def unblock() -> None:
    """Deliver the signals, those that have come meanwhile at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
