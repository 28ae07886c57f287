"""Where a command writes a document: a new file for its owner alone, ``-`` for standard output, or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from twinward.cli.screen import say, show_json, tell
from twinward.core.errors import BadInput, Conflict
from twinward.core.private_files import replacing

STANDARD_OUTPUT = Path("-")


class OutputFile:
    """One document to be written, named before the work begins.

    What is said about it goes to standard error where the document itself goes to standard output (``is_printed``).
    """

    def __init__(self, target: Path, *, as_json: bool, option: str = "--out") -> None:
        """Check that it can be.

        Raises:
            Conflict: there is a file of this name.
            BadInput: ``-`` together with --json: both want standard output.
        """
        self.target = target
        self.is_printed = target == STANDARD_OUTPUT
        self.as_json = as_json
        if self.is_printed and as_json:
            raise BadInput(f"--json and {option} - both want standard output", hint=f"give {option} a file")
        if not self.is_printed and target.exists() and (target.is_file() or target.is_dir()):
            raise Conflict(f"{target} exists", hint=f"give another {option}")

    def __str__(self) -> str:
        return "standard output" if self.is_printed else str(self.target)

    def write(self, content: bytes) -> None:
        """Write it whole: a file is there whole or not at all. Raises ``BadInput``."""
        with self.writing() as file:
            file.write(content)

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """Somewhere to write it piece by piece; a file is there at the end of the block, or not at all.

        The block raises no ``OSError`` of its own. Raises ``BadInput``.
        """
        try:
            with self._opened() as file:
                yield file
        except BrokenPipeError:
            raise
        except OSError as error:
            raise BadInput(f"{self} cannot be written: {error.strerror}") from None

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self.is_printed:
            sys.stdout.flush()
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif self.target.exists() and not self.target.is_file():  # a pipe, a device
            with self.target.open("wb") as pipe:
                yield pipe
        else:
            with replacing(self.target) as file:
                yield file

    def report(self, shown: Mapping[str, object], *sentences: str) -> None:
        """Say what was written: as JSON, or in sentences."""
        if self.as_json:
            show_json(shown)
            return
        for one in sentences:
            (tell if self.is_printed else say)(one)
