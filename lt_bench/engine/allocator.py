"""Keeping freed memory in the process: on a CPU the price of a large temporary is the pages it comes in."""

from __future__ import annotations

import ctypes

# names of the settings in glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed memory instead of returning it to the operating system; whether it agreed.

    By default large tensors are mapped and unmapped at every use, and each page is zeroed anew: on a virtual machine
    that can double the time of a batch augmentation. To be called once, early, in a process that computes on the CPU;
    the process then stays as large as it ever was. Returns False, and changes nothing, where the allocator is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # older versions of glibc accept at most 32 MB for the first
    mapped = any(mallopt(M_MMAP_THRESHOLD, size) for size in (1 << 30, 1 << 25))
    return bool(mapped and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))
