"""Boosted contrastive learning on SDCLR."""

from __future__ import annotations

from lt_bench.methods.boosted_cl import BoostedCL
from lt_bench.methods.sdclr import SDCLR


class BoostedSDCLR(BoostedCL, SDCLR):
    """Zhou et al., ICML 2022, authors' code (there BCL-D): the memory of ``BoostedCL`` holds the losses of ``SDCLR``.

    It takes the options of both; published with two operations per view, ``views`` boosted_twice.
    Raises SettingError for values out of range.
    """
