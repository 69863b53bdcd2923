"""What all commands share: exit statuses, and the status that an error stands for."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from lt_bench.errors import CheckpointError, DataError, Interrupted, NonFiniteLoss, UsageError

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130  # the last is the shell's own for Ctrl-C


def exit_status(work: Callable[[], int]) -> int:
    """What ``work`` returns, or the status that its error stands for; says on stderr what to do about it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a termination is an interruption like Ctrl-C
    try:
        return work()
    except UsageError as error:
        for line in str(error).splitlines():
            print(f"lt_bench: {line}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("lt_bench: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    except Interrupted as error:
        print(f"lt_bench: stopped by {error}; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (DataError, CheckpointError, NonFiniteLoss, OSError) as error:
        print(f"lt_bench: {error}", file=sys.stderr)
        return FAILED
