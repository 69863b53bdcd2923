"""Whether processes live, by what their own machine says and by change that one clock sees."""

import os
import socket
import subprocess

import pytest
from helpers.clocks import Clock, beating

from lt_bench import liveness
from lt_bench.liveness import BEAT_S, STILL_S, lives, this_process


def test_four_signs_are_missing_before_a_process_counts_as_dead():
    assert 4 * BEAT_S < STILL_S <= 60


def test_a_process_is_known_on_its_own_machine():
    with subprocess.Popen(["sleep", "60"]) as other:
        known = {**this_process(), "pid": other.pid, "started": liveness._started(other.pid)}
        assert lives(this_process()) and lives(known)
        assert lives({**known, "started": known["started"] - 1}) is False  # its id belongs to another one by now
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert lives(known) is False  # nobody has asked for its status yet
    assert lives(known) is False


@pytest.mark.parametrize(
    "changed", [{"host": "elsewhere"}, {"boot": "another"}, {"pids": "pid:[1]"}, {"pid": None}, {"pid": "7"}]
)
def test_of_other_machines_boots_and_containers_nothing_is_known(changed):
    assert lives({**this_process(), **changed}) is None


@pytest.mark.parametrize("error", [PermissionError, ProcessLookupError])
def test_of_another_users_process_that_the_machine_hides_nothing_is_known(error, monkeypatch):
    def kill(pid, number):
        raise error

    monkeypatch.setattr(liveness, "_started", lambda pid: None)
    monkeypatch.setattr(os, "kill", kill)
    assert lives({**this_process(), "started": 7}) is (None if error is PermissionError else False)


@pytest.mark.parametrize("process", [{}, {"host": None}, {"pid": 10**30, "host": socket.gethostname()}])
def test_what_is_no_process_of_this_machine(process):
    assert not lives(process)


@pytest.mark.parametrize("ahead", [0, -120, 120, -1e9, 1e9])
def test_change_counts_and_no_clock_but_the_observers(ahead, tmp_path):
    moving, still = tmp_path / "moving", tmp_path / "still"
    for path in (moving, still):
        path.touch()
        os.utime(path, (1.6e9 + ahead,) * 2)
    told = []
    clock = Clock(beating(moving, 1.6e9 + ahead))
    assert clock.signs().moving({(moving,), (still,)}, lambda: told.append(clock.now)) == {(moving,)}
    assert told == [0] and STILL_S <= clock.now < STILL_S + 2


@pytest.mark.parametrize("change", ["write", "replace", "delete"])
def test_any_change_is_a_sign(change, tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("1")

    def meanwhile(seconds):
        if seconds == 5:
            {"write": lambda: path.write_text("22"), "replace": lambda: (other.touch(), other.replace(path)),
             "delete": path.unlink}[change]()  # fmt: skip

    clock = Clock(meanwhile)
    assert clock.signs().moving([(path, other)], lambda: None) and clock.now == 5


def test_looking_changes_nothing(tmp_path):
    (tmp_path / "a").touch()
    os.mkfifo(tmp_path / "pipe")
    before = liveness.stamp(tmp_path / "a", tmp_path / "pipe", tmp_path / "none")
    assert liveness.stamp(tmp_path / "a", tmp_path / "pipe", tmp_path / "none") == before and before[2] == ()
