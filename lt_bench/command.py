"""What all commands share: exit statuses, the status that an error stands for, and whose defect another one is."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import stat
import sys
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from lt_bench.errors import CheckpointError, DataError, Interrupted, NonFiniteLoss, SettingError, UsageError
from lt_bench.files import write_atomic
from lt_bench.terminal import terminal

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet knows one
_MODULE_FORM = re.compile(r"python -m lt_bench(?:(\.)(?=[a-z]+\b(?!\.\w))|(?!\.\w))")

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130  # the last is the shell's own for Ctrl-C
LOADING = "loading PyTorch, which takes some seconds"
GOES_ON, ANEW = "the same command goes on where it stopped", "the same command begins anew"


def exit_status(work: Callable[[], int], name: str = "lt_bench", goes_on: bool = True) -> int:
    """What ``work`` returns, or the status that its error stands for; says on stderr what to do about it.

    Where it is interrupted, that is whether the same command ``goes_on`` with it or begins anew.

    All that is printed meanwhile suits the terminal (see ``terminal``); FAILED where standard output could not be
    written, help included. An error that has no owner (see ``errors``) is raised again, so that Python shows its
    traceback and exits with 1, and so is the SystemExit of a parser of arguments. Messages begin with the ``name`` of
    the command.
    """
    interrupt_on_signals()
    left: SystemExit | None = None
    with terminal() as lost:
        try:
            status = _status(work, name, GOES_ON if goes_on else ANEW)
        except SystemExit as stop:  # argparse ends so after its help, whose lost output it does not tell
            left, status = stop, DONE
    for error in lost:
        with suppress(OSError):
            print(f"{name}: standard output cannot be written ({error.strerror}): a part is lost", file=sys.stderr)
    if left is not None and (left.code or not lost):
        raise left
    return FAILED if lost and status == DONE else status


def say_loading(name: str = "lt_bench") -> None:
    """Say on stderr that PyTorch is being loaded, before a command imports it."""
    if "torch" not in sys.modules:
        print(f"{name}: {LOADING}", file=sys.stderr, flush=True)


def _status(work: Callable[[], int], name: str, again: str) -> int:
    try:
        _refuse_deleted_folder()
        return work()
    except (UsageError, SettingError) as error:
        for line in as_called(str(error)).splitlines():
            print(f"{name}: {printable(line)}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"{name}: interrupted; {again}", file=sys.stderr)
        return INTERRUPTED
    except Interrupted as error:
        print(f"{name}: stopped by {error}; {again}", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        too_long = error.errno == errno.ENAMETOOLONG
        said = f"{error.filename} has a longer name than the file system takes; choose a shorter one"
        print(f"{name}: {printable(said if too_long else as_called(str(error)))}", file=sys.stderr)
        return USAGE if too_long else FAILED
    except (DataError, CheckpointError, NonFiniteLoss) as error:
        print(f"{name}: {printable(as_called(str(error)))}", file=sys.stderr)
        return FAILED
    except Exception as error:
        kept = getattr(error, "trace_file", None)
        said = f"{type(error).__name__}, probably a defect of {_culprit(error)}; its traceback"
        print(f"{name}: {said} {'follows' if kept is None else f'is kept in {kept}'}", file=sys.stderr)
        raise


def _refuse_deleted_folder() -> None:
    """Raise UsageError where the current folder is gone: libraries of PyTorch would end the process."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(f"the current folder cannot be used ({error.strerror}); go to another one") from error


def interrupt_on_signals() -> None:
    """Let a termination, and a terminal that is closed, be an interruption like Ctrl-C.

    What nohup, or whoever starts a process, lets it ignore stays ignored.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not is_ignored(signal.SIGHUP):
        signal.signal(signal.SIGHUP, _interrupt_once)


def is_ignored(number: int) -> bool:
    """Whether this process ignores a signal."""
    return signal.getsignal(number) is signal.SIG_IGN


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    """A closed terminal is told twice, by the system and by the shell: the second time nothing more is to stop."""
    signal.signal(number, signal.SIG_IGN)
    leave_closed_terminal()
    raise KeyboardInterrupt


def leave_closed_terminal() -> None:
    """After a terminal was closed, what is printed to it is dropped, where it would be an error."""
    for descriptor in (1, 2):
        try:
            is_device = stat.S_ISCHR(os.fstat(descriptor).st_mode)
        except OSError:
            continue
        looked = select.poll()
        looked.register(descriptor, 0)
        if is_device and looked.poll(0):  # hung up
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def printable(text: str) -> str:
    """A text with its control characters written out, so that no name or message of a file acts on a terminal.

    Lines and tabs stay; characters that turn the direction of writing count as control characters, and bytes of names
    that are no text are written out as well.
    """
    plain = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return plain.encode("utf-8", "backslashreplace").decode()


def csv_cell(value: object) -> object:
    """A value for CSV: a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = printable(" ".join(value.splitlines()))
    return f"'{text}" if value.startswith(_FORMULA) else text


def as_called(text: str) -> str:
    """A text that names commands as ``python -m lt_bench.report``, with the form by which this process was called.

    That is ``lt-bench report`` or ``python -m lt_bench report``. One form makes all commands shorter by as many
    characters, so columns stay aligned.
    """
    called = Path(sys.argv[0])
    if called.stem == "lt-bench":
        package = "lt-bench"
    elif called.parts[-2:] == ("lt_bench", "__main__.py"):
        package = "python -m lt_bench"
    else:
        return text
    return _MODULE_FORM.sub(lambda found: package + (" " if found[1] else ""), text)


def keep_trace(error: Exception, path: Path) -> None:
    """Write the traceback of an error to a file, which ``exit_status`` will name."""
    write_atomic(path, "".join(traceback.format_exception(error)))
    error.trace_file = path  # type: ignore[attr-defined]


def _culprit(error: Exception) -> str:
    """The innermost place that is neither ours nor a library's, else the innermost of ours."""
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    installed = {"site-packages", "dist-packages"}  # also those of the user, and of folders on PYTHONPATH
    ours = theirs = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        name, file = frame.f_globals.get("__name__", ""), frame.f_code.co_filename
        if name.partition(".")[0] == "lt_bench":
            ours = f"lt_bench ({name}, line {line})"
        elif not file.startswith(("<", *libraries)) and not installed & {*Path(file).parts}:
            theirs = f"{name} ({file}, line {line})"
    return theirs or ours
