"""Workers ignore the signals that stop a run, but a second termination."""

import os
import signal
import subprocess
import sys

import torch

from lt_bench.data.batches.worker import ignore_stop_signals
from lt_bench.engine.interrupt import StopRequest


def test_a_second_termination_ends_a_worker():
    code = (
        "import os, signal; from lt_bench.data.batches.worker import ignore_stop_signals; ignore_stop_signals(0); "
        "os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGUSR2); "
        "os.kill(os.getpid(), signal.SIGTERM); print('alive', flush=True); "
        "os.kill(os.getpid(), signal.SIGTERM); print('still', flush=True)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (-signal.SIGTERM, "alive\n")


class Signalled(torch.utils.data.Dataset):
    """A cluster's signal reaches the worker that loads the fourth item."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 4:
            for number in StopRequest.signals:
                os.kill(os.getpid(), number)
        return index


def test_the_workers_of_a_data_loader_ignore_stop_signals():
    with StopRequest() as stop:
        loader = torch.utils.data.DataLoader(Signalled(), num_workers=1, worker_init_fn=ignore_stop_signals)
        assert [int(item) for item in loader] == list(range(8)) and not stop.reason
