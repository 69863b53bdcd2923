"""Where output goes: every text is shown on every terminal, and none is a reason for a command to fail."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

# how signs are written where a terminal has none of them; letters with accents lose these, others become \uXXXX
SPELLED = {
    **{"τ": "tau", "Δ": "Delta", "–": "-", "—": "-", "−": "-", "±": "+-", "×": "x", "·": "*", "…": "...", "†": "(+)"},
    **{"→": "->", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "°": " degrees", "µ": "u", "μ": "u"},
    **dict.fromkeys("─━", "-"),  # lines of tables
    **dict.fromkeys("«»“”„", '"'),
    **dict.fromkeys("‘’", "'"),
}
ERRORS = "lt_bench_spelled"  # the name under which Python's encoders know ``spelled``


def spelled(text: str) -> str:
    """A text in ASCII that reads as the given one."""
    return "".join(SPELLED.get(sign) or _without_accent(sign) for sign in text)


def _without_accent(sign: str) -> str:
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return plain or sign.encode("ascii", "backslashreplace").decode()


def _spell_rest(error: UnicodeError) -> tuple[str, int]:
    """Python's handler of what an encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spelled(error.object[error.start : error.end]), error.end


codecs.register_error(ERRORS, _spell_rest)


class Output(io.TextIOWrapper):
    """A stream over the bytes of another one that spells what its encoding has not, and drops what nobody takes.

    ``lost`` is the error of a write, after which all is dropped; None where only the reader has gone (head, less).
    """

    lost: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        with self._kept_going():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        with self._kept_going():
            super().flush()

    @contextmanager
    def _kept_going(self) -> Iterator[None]:
        try:
            with suppress(ValueError):  # of a bar that is closed when the command is over
                yield
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.lost = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # also what is still in a buffer
            os.close(nowhere)


@contextmanager
def terminal() -> Iterator[list[OSError]]:
    """A block whose standard output and error are ``Output``; streams without bytes, as notebooks have, stay.

    After its end the list that it gives has the error by which standard output was lost, if it was.
    """
    _fill_closed()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_output, before)
    lost: list[OSError] = []
    try:
        yield lost
    finally:
        used, (sys.stdout, sys.stderr) = (sys.stdout, sys.stderr), before
        for stream, original in zip(used, before, strict=True):
            if isinstance(stream, Output) and stream is not original:
                stream.flush()
                with suppress(ValueError):
                    stream.detach()
        lost += [used[0].lost] if isinstance(used[0], Output) and used[0].lost else []


def _output(stream: TextIO) -> TextIO:
    if isinstance(stream, Output) or not hasattr(stream, "buffer"):
        return stream
    with suppress(OSError, ValueError):  # to be written first
        stream.flush()
    return Output(
        stream.buffer,
        encoding=stream.encoding,
        errors=ERRORS,
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )


def _fill_closed() -> None:
    """Let closed standard streams lead nowhere, so that no file takes their numbers; Python has None for them."""
    if sys.stdout is not None and sys.stderr is not None:
        return
    descriptor = 0
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")
