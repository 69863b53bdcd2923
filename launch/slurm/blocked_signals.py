"""``python blocked_signals.py ARGUMENTS``: ``python ARGUMENTS``, started with a cluster's signals blocked.

The process of a job needs seconds to start, on a busy file system minutes. A warning signal that arrives before its
handler is installed would kill the process, and the job would count as failed. Blocked signals stay pending and are
delivered when ``unblock`` is called. This file is run by its path, so that nothing else is imported first.
"""

from __future__ import annotations

import os
import signal
import sys

BLOCKED = (signal.SIGUSR2, signal.SIGTERM)


def unblock() -> None:
    """Unblock the signals; pending ones are delivered at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
