"""Keep freed memory in the process: on a CPU most of the cost of a large temporary is its new pages."""

from __future__ import annotations

import ctypes

# names of the settings in glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Set glibc to reuse freed memory instead of returning it to the operating system; returns whether it did.

    By default large tensors are mapped and unmapped at every use, and each page is zeroed again: on a virtual machine
    that can double the time of a batch augmentation. Call it once, early, in a process that computes on the CPU; the
    memory of the process then never shrinks. Returns False, and changes nothing, where the allocator is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # older versions of glibc accept at most 32 MB for the first
    mapped = any(mallopt(M_MMAP_THRESHOLD, size) for size in (1 << 30, 1 << 25))
    return bool(mapped and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))
