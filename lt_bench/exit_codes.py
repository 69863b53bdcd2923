"""Exit statuses of all commands; that of an interruption is the shell's own for Ctrl-C."""

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
