"""Ctrl-C and termination signals: the present step is finished, a checkpoint is written, and the run exits."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from lt_bench.command import is_ignored, leave_closed_terminal
from lt_bench.engine.context import EngineContext

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)


class StopRequest:
    """Context: a first signal to stop is recorded; a second SIGINT stops at once.

    They are SIGINT, SIGTERM, SIGUSR2 (a cluster's warning) and SIGHUP (a terminal that was closed), but for nohup.
    """

    signals = SIGNALS

    def __init__(self) -> None:
        self.reason = ""
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in self.signals if number != signal.SIGHUP or not is_ignored(number)]
            self._previous = {number: signal.signal(number, self._record_signal) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _record_signal(self, number: int, frame: FrameType | None) -> None:
        if self.reason and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number == signal.SIGHUP:  # often sent twice: the second one may come while the run exits
            self._previous[signal.SIGHUP] = signal.SIG_IGN
            leave_closed_terminal()
        self.reason = signal.Signals(number).name

    def agreed(self, context: EngineContext, due: bool = True) -> bool:
        """Whether to stop now. Several ranks stop when one of them received a signal; they agree only where ``due``."""
        if context.world_size == 1:
            return bool(self.reason)
        if not due:
            return False
        flag = torch.tensor(int(bool(self.reason)), device=context.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        self.reason = self.reason or ("another process was stopped" if int(flag) else "")
        return bool(int(flag))
