"""Locks: one holder at a time, given back by whoever dies, taken over from a machine that is dead."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from threading import Thread

import pytest
from helpers.clocks import Clock, beating
from helpers.command_line import wait_for

from lt_bench import locks
from lt_bench.liveness import STILL_S, this_process
from lt_bench.locks import Held, Lock

ELSEWHERE = {**this_process(), "host": "elsewhere"}
START = time.time()
HOLDER = """
import sys, time
from pathlib import Path
from lt_bench import locks
locks.BEAT_S = 0.1
lock = locks.Lock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_DEAD", [])
    return tmp_path / "lock"


@pytest.fixture
def holder(path):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def left(path):
    """A lock that the file system keeps for a machine that is dead: its holder is named."""
    with path.open("w") as file:
        json.dump(ELSEWHERE, file)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def quick(monkeypatch, clock):
    """Waiting between two tries turns the observer's clock."""
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: clock.sleep(1))


def test_one_at_a_time(path, holder):
    assert json.loads(path.read_text())["pid"] == holder.pid
    with pytest.raises(Held):
        Lock(path).acquire()
    os.kill(holder.pid, signal.SIGSTOP)  # it stands still, and lives
    with pytest.raises(Held):
        Lock(path).acquire()


def test_a_killed_holders_lock_is_free_at_once_for_whoever_waits(path, holder):
    told, lock = [], Lock(path)
    waiting = Thread(target=lock.acquire, args=(lambda: told.append(1),))
    waiting.start()
    wait_for(lambda: told)
    holder.kill()
    waiting.join(60)
    assert not waiting.is_alive() and told == [1] and json.loads(path.read_text()) == this_process()
    lock.release()


def test_a_lock_can_be_taken_again_after_it_was_released(path):
    lock = Lock(path)
    for _ in range(2):
        lock.acquire()
        assert json.loads(path.read_text()) == this_process() and not lock.lost
        lock.release()
        lock.release()
        assert path.read_text() == "" and not lock.lost


def test_the_holder_gives_signs_of_life(path, holder):
    first = path.stat().st_mtime_ns
    wait_for(lambda: path.stat().st_mtime_ns != first)


@pytest.mark.parametrize("ahead", [-120, 0, 120, 1e8])
def test_a_dead_machines_lock_is_taken_over(ahead, path, left, monkeypatch, capsys):
    os.utime(path, (START + ahead,) * 2)
    clock = Clock()
    quick(monkeypatch, clock)
    lock = Lock(path, clock.signs())
    lock.acquire()
    assert STILL_S <= clock.now <= STILL_S + 5 and not lock.lost
    looking, taken = capsys.readouterr().err.splitlines()
    assert looking == f"lt_bench: looking for signs of life of the process that holds {path}"
    assert taken.endswith(f"process {os.getpid()} on elsewhere, which is dead: taken over")
    with pytest.raises(Held):
        Lock(path).acquire()
    lock.release()
    assert sorted(one.name for one in path.parent.iterdir()) == ["lock"]


def test_other_locks_of_the_same_dead_holder_are_free_at_once(path, left, monkeypatch):
    """A run holds its own lock and that of its stage one."""
    clock = Clock()
    quick(monkeypatch, clock)
    Lock(path, clock.signs()).acquire()
    with (path.parent / "other").open("w") as other:
        json.dump(ELSEWHERE, other)
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        before = clock.now
        Lock(path.parent / "other", clock.signs()).acquire()
    assert clock.now == before


@pytest.mark.parametrize("ahead", [-120, 0, 120])
def test_the_lock_of_a_machine_that_lives_is_not(ahead, path, left, monkeypatch):
    clock = Clock(beating(path, START + ahead))
    quick(monkeypatch, clock)
    with pytest.raises(Held):
        Lock(path, clock.signs()).acquire()
    assert clock.now <= 15 and json.loads(path.read_text()) == ELSEWHERE


def test_a_lock_without_a_name_is_an_older_versions_and_held(path, left):
    left.truncate(0)
    with pytest.raises(Held):
        Lock(path).acquire()


def test_of_several_that_wait_for_a_dead_machines_lock_one_takes_it(path, left, monkeypatch):
    taken = []

    def take():
        lock = Lock(path)
        lock.acquire(lambda: None)
        taken.append(lock)
        time.sleep(0.1)
        taken.append(lock.lost or sum(isinstance(one, Lock) for one in taken) > 1)
        lock.release()
        taken.remove(lock)

    monkeypatch.setattr("lt_bench.liveness.STILL_S", 0.2)
    threads = [Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert taken == [False] * 4


def test_a_process_whose_lock_was_taken_over_stops(path, holder):
    path.unlink()
    Lock(path).acquire()
    _, said = holder.communicate(timeout=60)
    assert holder.returncode == -signal.SIGTERM and b"another process has taken over its work; it stops" in said


def test_a_file_system_that_does_not_answer_for_a_while_stops_nobody(path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT_S", 0.02)
    lock, failing = Lock(path), True
    stat = type(path).stat

    def stale(self, **options):
        if failing and self == path:
            raise OSError(errno.ESTALE, "Stale file handle")
        return stat(self, **options)

    lock.acquire()
    monkeypatch.setattr(type(path), "stat", stale)
    time.sleep(0.2)
    assert not lock.lost
    failing, before = False, os.stat(path).st_mtime_ns
    wait_for(lambda: path.stat().st_mtime_ns > before)
    lock.release()


def test_a_deleted_folder_stops_nobody(path, holder):
    path.unlink()
    time.sleep(0.5)
    assert holder.poll() is None


def test_a_fork_does_not_keep_the_lock_of_a_killed_holder(path):
    """As a worker that reads images would, until it notices."""
    forks = HOLDER.replace("print(", "import os; pid = os.fork(); pid and print(")
    process = subprocess.Popen([sys.executable, "-c", forks, path], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout.readline() == b"held\n"
        process.kill()
        process.wait()
        wait_for(lambda: Lock(path)._take())
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_the_file_system_has_no_locks_the_holders_name_counts(number, path, monkeypatch, capsys):
    def none(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    first = Lock(path)
    first.acquire()
    with pytest.raises(Held):
        Lock(path).acquire()
    first.release()
    with subprocess.Popen(["true"]) as dead:
        pass
    path.write_text(json.dumps({**this_process(), "pid": dead.pid, "started": 1}))
    first.acquire()
    first.release()
    assert "which is dead: taken over" in capsys.readouterr().err


def test_of_two_that_find_it_free_at_once_without_locks_of_the_file_system_one_takes_it(path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    first, sleep = Lock(path), time.sleep
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: path.write_text(json.dumps(ELSEWHERE)))
    assert not first._take() and json.loads(path.read_text()) == ELSEWHERE
    path.write_text("")
    monkeypatch.setattr(locks.time, "sleep", sleep)
    assert first._take()
    first.release()


def test_a_link_is_not_followed(path, tmp_path):
    (tmp_path / "precious").write_text("text")
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        Lock(path).acquire()
    assert (tmp_path / "precious").read_text() == "text"
