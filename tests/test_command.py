"""Signals that interrupt a command: a termination, and a terminal that is closed, but for nohup."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from lt_bench.__main__ import main as run
from lt_bench.command import ANEW, GOES_ON
from lt_bench.data.__main__ import main as data
from lt_bench.export.__main__ import main as export
from lt_bench.launch.__main__ import main as launch
from lt_bench.predict.__main__ import main as predict
from lt_bench.report.__main__ import main as report

CODE = """
import os, signal, sys, time
from lt_bench.command import exit_status

def work():
    print("ready", flush=True)
    try:
        time.sleep(60 if len(sys.argv) == 1 else 0.3)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGHUP)  # the second time
        raise
    return 0

sys.exit(exit_status(work))
"""


def test_a_closed_terminal_interrupts_once():
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        _, said = process.communicate()
    assert process.returncode == 130 and said.count("the same command goes on where it stopped") == 1


INTERRUPTED = [
    (run, "lt_bench.cli.main._dispatch", ["budget=smoke"], GOES_ON),
    (launch, "lt_bench.launch.__main__._dispatch", ["submit"], GOES_ON),
    (launch, "lt_bench.launch.__main__._dispatch", ["status"], ANEW),
    (data, "lt_bench.data.__main__._dispatch", ["prepare"], GOES_ON),
    (data, "lt_bench.data.__main__._dispatch", ["check"], ANEW),
    (predict, "lt_bench.predict.__main__._predict", ["runs/x", "a.png"], ANEW),
    (export, "lt_bench.export.__main__._export", ["runs/x", "--to", "y"], ANEW),
    (report, "lt_bench.report.__main__._dispatch", [], ANEW),
]


@pytest.mark.parametrize(("main", "where", "words", "said"), INTERRUPTED)
def test_whoever_is_interrupted_hears_what_the_same_command_does(main, where, words, said, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupted)
    assert main(words) == 130
    assert capsys.readouterr().err.endswith(f": interrupted; {said}\n")


def test_nohup_is_heard():
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", CODE, "short"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 0


def test_a_closed_terminal_is_no_error():
    pid, terminal = pty.fork()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-c", CODE])
    said = b""
    while b"ready" not in said:  # which may come in pieces
        said += os.read(terminal, 1024)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130


def test_a_name_that_is_too_long_is_wrong_usage(tmp_path, capsys):
    for main, words in ((launch, ["plan"]), (run, ["budget=smoke"])):
        assert main([*words, f"output_dir={tmp_path / ('a' * 300)}"]) == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert "Errno" not in said and "choose a" in said
