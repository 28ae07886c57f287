"""Standard input, output and error as any shell may hand them over: closed, full, cut off, with ASCII only.

Python itself gives no stream for a closed descriptor, and the next file that is opened takes its number: what is then
printed would land in it. So closed ones are opened on ``/dev/null`` first.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_IN, STANDARD_OUT, STANDARD_ERROR = 0, 1, 2


class OutputLost(Exception):
    """What was to be shown could not be written. What the command did stands."""


class ReaderGone(Exception):
    """Whoever read standard output has seen enough.

    No ``BrokenPipeError``: help texts are printed on consoles of typer's own, and rich ends the process with 1 for one.
    """


def prepare() -> None:
    """Make all three usable: what an encoding lacks is spelled out (``\\xf4``), a full disk is named as such."""
    for descriptor in (STANDARD_IN, STANDARD_OUT, STANDARD_ERROR):
        _require_open(descriptor)
    sys.stdin = sys.stdin or os.fdopen(STANDARD_IN, "r", encoding="utf-8", closefd=False)
    sys.stdout = _output(sys.stdout, _Output(STANDARD_OUT, "w", closefd=False))
    sys.stderr = _output(sys.stderr, io.FileIO(STANDARD_ERROR, "w", closefd=False))


def flush() -> None:
    """Write out what is still held back. Raises ``OutputLost``, ``ReaderGone``."""
    sys.stdout.flush()


def give_up() -> None:
    """Nobody reads on, or nothing can be written: what is held back goes nowhere when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STANDARD_OUT)
    os.close(nowhere)


class _Output(io.FileIO):
    """Standard output, whose errors are told apart from those of files."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise ReaderGone from None
            raise OutputLost(f"standard output cannot be written: {error.strerror}") from None


def _output(stream: TextIO | None, raw: io.FileIO) -> TextIO:
    if stream is not None:
        stream.flush()
    encoding = "utf-8" if stream is None else stream.encoding
    by_line = (stream is not None and stream.isatty()) or raw.fileno() == STANDARD_ERROR
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=by_line
    )


def _require_open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
