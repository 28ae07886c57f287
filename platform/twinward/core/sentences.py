"""Sentences that are put together from values, and can be said again in another language.

What finds something out says it in English, as text: commands, the API and log lines take it as it is. It also keeps
what the text was made of, so that a page can say the same in its reader's language and by their clock. Nothing here
knows languages: the console does (``twinward.console.viewer``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Self

_NUMBERS: Final = re.compile(r"(?<!\w)(?<!\w\.)(?:0|[1-9][0-9]{0,15})(?!\w|\.\w)", re.ASCII)
"""Whole numbers as Python writes them, none that is a part of a name."""
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class Sentence(str):
    """English text, and what it was made of.

    Attributes:
        template: with its values' names in braces, as ``str.format`` reads it; of one where it counts.
        many: the template where it counts and there is not exactly one; empty where it does not count.
        values: by name; a ``count`` says which template holds. Sentences among them can be said again themselves.
    """

    __slots__ = ("many", "template", "values")
    template: str
    many: str
    values: Mapping[str, object]

    def __new__(cls, template: str, many: str = "", values: Mapping[str, object] = _NOTHING) -> Self:
        """The text is formatted at once."""
        form = many if many and values["count"] != 1 else template
        made = super().__new__(cls, form.format(**values))
        made.template, made.many, made.values = template, many, values
        return made

    def __reduce__(self) -> tuple[type[Sentence], tuple[str, str, dict[str, object]]]:
        """Copied and sent to other processes with what it was made of."""
        return Sentence, (self.template, self.many, dict(self.values))


class Moment(int):
    """Milliseconds since 1970 that are read as a time to the minute, in UTC until somebody's clock is known."""

    def __format__(self, spec: str) -> str:
        """As ``2026-01-31 08:30 UTC``."""
        return format(str(self), spec)

    def __str__(self) -> str:
        return f"{datetime.fromtimestamp(self / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def sentence(template: str, /, **values: object) -> Sentence:
    """A sentence of its values: ``sentence("{name} has co-signed everything", name=one.name)``."""
    return Sentence(template, "", values)


def of_numbers(text: str) -> Sentence:
    """A text of a library that knows no sentences and puts numbers into its words: they are its values, in order."""
    values: list[int] = []

    def placed(found: re.Match[str]) -> str:
        values.append(int(found[0]))
        return f"{{n{len(values) - 1}}}"

    template = _NUMBERS.sub(placed, text.replace("{", "{{").replace("}", "}}"))
    return Sentence(template, "", {f"n{place}": value for place, value in enumerate(values)})


def joined(parts: Sequence[str]) -> str:
    """Several sentences in a row, ``;`` between."""
    if len(parts) < 2:
        return parts[0] if parts else ""
    return sentence("{one}; {others}", one=parts[0], others=joined(parts[1:]))


def listed(parts: Sequence[str]) -> str:
    """Several of a kind in a row, a comma between."""
    if len(parts) < 2:
        return parts[0] if parts else ""
    return sentence("{one}, {others}", one=parts[0], others=listed(parts[1:]))


def counted(one: str, many: str, count: int, /, **values: object) -> Sentence:
    """A sentence that counts, in its form for so many: both name ``{count}``."""
    return Sentence(one, many, {"count": count} | values)
