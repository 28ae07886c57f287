"""What of an import was not taken: where it stood, and why. Of what it holds, it says nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from twinward.core.errors import BadInput, TwinwardError
from twinward.fhir.bulk.inputs import STANDARD_INPUT
from twinward.fhir.errors import InvalidResource, Issue, outcome_of

_ENTRY = re.compile(r"Bundle\.entry\[([0-9]+)\]")
_INDEX = re.compile(r"\[[0-9]+\]")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file, a line of one, or what stood in a bundle.

    Attributes:
        file: as it was named; ``-`` is standard input.
        error: why.
        line: of NDJSON, from 1; None where it is no line.
        place: where that stood which the error is about, e.g. ``Bundle.entry[3].resource``, if it does not say itself.
    """

    file: Path
    error: TwinwardError
    line: int | None = None
    place: str = ""

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What is wrong, each with its code and path; at least one."""
        if isinstance(self.error, InvalidResource):
            return self.error.issues
        code = outcome_of(self.error)["issue"][0]["code"]
        return (Issue(code, self.place, str(self.error)),)

    @property
    def entry(self) -> int | None:
        """The number of the bundle's entry, from 0 as in its path; None where it is about none."""
        found = _ENTRY.match(self.issues[0].path)
        return int(found[1]) if found else None

    @property
    def where(self) -> str:
        """File and line, for people."""
        file = "standard input" if self.file == STANDARD_INPUT else str(self.file)
        return f"{file}:{self.line}" if self.line else file

    @property
    def reason(self) -> str:
        """What is wrong and what to do, in one sentence."""
        place = f"{self.place}: " if self.place else ""
        return f"{place}{self.error}" + (f" ({self.error.hint})" if self.error.hint else "")

    @property
    def kind(self) -> tuple[str, ...]:
        """The same for all that is refused for the same reason, wherever it stood and whatever it was called."""
        if isinstance(self.error, InvalidResource):
            return tuple(f"{_INDEX.sub('[]', one.path)}: {one.message}" for one in self.issues)
        return (type(self.error).__name__, self.error.hint)

    def shown(self) -> dict[str, Any]:
        """For a program: file, line, entry, message, hint, and each issue with its code and path."""
        return {
            "file": str(self.file),
            "line": self.line,
            "entry": self.entry,
            "message": str(self.error),
            "hint": self.error.hint,
            "issues": [{"code": one.code, "path": one.path, "message": one.message} for one in self.issues],
        }


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that could not be imported, and why. Nothing of it was used."""

    path: Path
    error: BadInput


class BadLine(NamedTuple):
    """A line that was refused, and why. Lines count from 1; 0 is the whole source, or what is left of it.

    ``place`` is what the error is about, e.g. ``Observation.subject``, where it does not say so itself.
    """

    path: Path
    number: int
    error: TwinwardError
    place: str = ""
