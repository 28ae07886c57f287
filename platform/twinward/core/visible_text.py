"""Text that came from people or from elsewhere, as it is shown to somebody: what cannot be seen is spelled out.

A justification, a name or a file's name may hold characters that steer a terminal, turn a line's reading direction
(UAX #9; "Trojan Source"), show nothing or end a line that is not theirs. Stored, signed and exported for machines they
stay what they are. Every display for people (console pages, the command line, printed and spreadsheet exports, log
lines) shows them by these functions; ``console/static/visible.js`` is the first one in the officer's browser.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any, Final

_CONTROLS: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_SEPARATORS: Final = r"\u2028\u2029"
_TURNING: Final = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SHOWING_NOTHING: Final = (
    r"\xad\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
_MEANING_NOTHING: Final = r"\ud800-\uf8ff\ufdd0-\ufdef\ufffe\uffff\U000f0000-\U0010ffff"
_UNSEEN: Final = re.compile(f"[{_CONTROLS}{_SEPARATORS}{_TURNING}{_SHOWING_NOTHING}{_MEANING_NOTHING}]")
"""Controls, bidirectional controls, Default_Ignorable_Code_Point (UAX #44, DerivedCoreProperties), surrogates, private
use and noncharacters. Named one by one, not asked of a Unicode database: Python's and the browser's differ by years,
and the browser compares what is shown with what was signed. The two joiners and the variation selectors stay: Persian
and Indic words, Japanese names and families of emoji need them."""


def visible(text: str) -> str:
    r"""The text with what cannot be seen spelled out: ``\x1b``, ``\u202e``, ``\U000e0041``. Line ends and tabs stay."""
    if text.isascii() and text.isprintable():  # nearly every text there is, told ten times as fast
        return text
    return _UNSEEN.sub(_spelled, text)


def visible_line(text: str) -> str:
    r"""As ``visible``, where one line is one entry: line ends and tabs too are spelled out, ``\x0a`` and ``\x09``."""
    return re.sub(r"[\t\n]", _spelled, visible(text))


def visible_value(value: Any) -> Any:
    """What a page's template writes, made visible: a Jinja ``finalize``. Pieces of markup stay themselves."""
    return visible(value) if type(value) is str else value


def visible_event(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line of a log, which stays one line and steers no terminal that shows it: a structlog processor."""
    return {name: visible_line(value) if isinstance(value, str) else value for name, value in event.items()}


def visible_json(document: str) -> str:
    """A JSON document with what cannot be seen escaped as JSON does it: the same value for whoever parses it."""
    return _UNSEEN.sub(_json_escape, document)


def spelled_out(one: str) -> str:
    r"""A character as ``\x1b``, ``\u202e`` or ``\U000e0041``."""
    point = ord(one)
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _spelled(found: re.Match[str]) -> str:
    return spelled_out(found[0])


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
