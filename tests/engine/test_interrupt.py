"""After a signal the present step is finished and a checkpoint is written; a second Ctrl-C stops at once."""

import os
import signal

import pytest
import torch
from helpers.engine_parts import Constant, FixedBatches, Vectors, one_process, stage, training

from lt_bench.contracts import Batch, TrainInfo
from lt_bench.engine import checkpoint
from lt_bench.engine.interrupt import StopRequest
from lt_bench.engine.loop import Trainer
from lt_bench.errors import Interrupted
from lt_bench.methods.ce import CE

LABELS = torch.arange(8) % 2


class Signalling(CE):
    """Is sent a signal in the middle of a step."""

    number = signal.SIGTERM

    def forward(self, batch, epoch, step, run):
        if (epoch, step) == (1, 0):
            os.kill(os.getpid(), self.number)
        return super().forward(batch, epoch, step, run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP])
@pytest.mark.parametrize(("batch_size", "expected"), [(4, (1, 1)), (8, (2, 0))])
def test_a_signal_stops_after_the_step_with_a_checkpoint(number, batch_size, expected, tmp_path):
    method = Signalling(Vectors(), TrainInfo(LABELS, 2, 3))
    method.number = number
    source = FixedBatches([Batch((torch.randn(8, 6),), LABELS, torch.arange(8))])
    before = signal.getsignal(number)
    trainer = Trainer(method, source, training(3, batch_size), Constant(0.1), one_process(source), stage(tmp_path))
    with pytest.raises(Interrupted, match=number.name):
        trainer.fit()
    position = checkpoint.load(tmp_path / "checkpoint.pt", torch.device("cpu"))["position"]
    assert (position["epoch"], position["step"]) == expected
    # a closed terminal is often told twice, and the second time must not disturb the end of the run
    assert signal.getsignal(number) is (signal.SIG_IGN if number == signal.SIGHUP else before)
    signal.signal(number, before)


def test_what_nohup_lets_a_run_ignore_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.reason
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_while_the_last_checkpoint_is_written_is_not_forgotten(tmp_path, monkeypatch):
    method = CE(Vectors(), TrainInfo(LABELS, 2, 3))
    source = FixedBatches([Batch((torch.randn(8, 6),), LABELS, torch.arange(8))])
    trainer = Trainer(method, source, training(1, 8), Constant(0.1), one_process(source), stage(tmp_path))
    save = checkpoint.save

    def signalled(path, state):
        os.kill(os.getpid(), signal.SIGTERM)
        save(path, state)

    monkeypatch.setattr(checkpoint, "save", signalled)
    with pytest.raises(Interrupted, match="SIGTERM"):
        trainer.fit()
    again = Trainer(method, source, training(1, 8), Constant(0.1), one_process(source), stage(tmp_path))
    assert again.fit().epoch == 1 and source.given == 1


def test_a_second_ctrl_c_stops_at_once():
    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.agreed(one_process(None))
        os.kill(os.getpid(), signal.SIGINT)
