"""Where a JSON document breaks the rules: a slow, obvious scanner.

It has two jobs. On the error path it names the place (``Bundle.entry[3].resource.id``), which the fast decoder
cannot. In the tests it is the oracle: ``find_fault`` returns None exactly when ``strict_json.decode`` accepts.

The rules: RFC 8259 grammar; no key twice in one object; no unpaired surrogate; at most ``depth`` levels; numbers
of bounded length and exponent. One pass, one explicit stack, no recursion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from twinward.fhir.json.values import number_fault

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:
      (?P<string>"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*")
    | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<word>true|false|null)
    | (?P<mark>[\[\]{},:])
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_RESOURCE_TYPE = re.compile(r'"resourceType"[ \t\n\r]*:[ \t\n\r]*"([A-Za-z]{1,64})"')


@dataclass(frozen=True, slots=True)
class Fault:
    """The first rule a document breaks, and where."""

    path: str
    message: str
    code: str = "structure"


class _Frame:
    """One open object or array: what was seen in it, and what may come next (``key`` ``:`` ``value`` ``,``)."""

    __slots__ = ("awaits", "index", "is_object", "key", "may_close", "seen")

    def __init__(self, *, is_object: bool) -> None:
        self.is_object = is_object
        self.seen: set[str] = set()
        self.key = ""
        self.index = 0
        self.awaits = "key" if is_object else "value"
        self.may_close = True


class _Scanner:
    def __init__(self, text: str, depth: int) -> None:
        self.text = text
        self.depth = depth
        self.stack: list[_Frame] = []
        self.done = False
        found = _RESOURCE_TYPE.search(text, 0, 4096)
        self.root = found[1] if found else "Resource"

    def scan(self) -> Fault | None:
        position = 0
        while (match := _TOKEN.match(self.text, position)) is not None:
            position = match.end()
            problem = self._take(match)
            if problem:
                return Fault(self._path(), problem)
        if self.text[position:].strip(" \t\n\r"):
            return Fault(self._path(), "this is not JSON: a string, number or word here is malformed")
        if self.stack or not self.done:
            return Fault(self._path(), "the document ends too early")
        return None

    def _take(self, match: re.Match[str]) -> str:
        """Take one token; return what is wrong with it, or nothing."""
        if self.done:
            return "there is more text after the end of the document"
        token = match[0].lstrip(" \t\n\r")
        frame = self.stack[-1] if self.stack else None
        awaits = frame.awaits if frame else "value"
        if match["string"] is not None:
            problem = _string_fault(token)
            if problem:
                return problem
            if frame is not None and awaits == "key":
                return self._take_key(frame, token)
        if match["number"] is not None and (problem := number_fault(token)):
            return problem
        if match["mark"] is not None:
            return self._take_mark(frame, awaits, token)
        return self._take_value(awaits)

    def _take_key(self, frame: _Frame, token: str) -> str:
        frame.key = _unescape(token)
        if frame.key in frame.seen:
            return "the same key stands twice in one object"
        frame.seen.add(frame.key)
        frame.awaits, frame.may_close = ":", False
        return ""

    def _take_value(self, awaits: str) -> str:
        if awaits != "value":
            return f"expected {_EXPECTED[awaits]}"
        self._value_ended()
        return ""

    def _take_mark(self, frame: _Frame | None, awaits: str, mark: str) -> str:
        if mark in "[{":
            if awaits != "value":
                return f"expected {_EXPECTED[awaits]}"
            if len(self.stack) >= self.depth:
                return f"nested more than {self.depth} levels deep"
            self.stack.append(_Frame(is_object=mark == "{"))
            return ""
        if frame is None:
            return "expected a value"
        if mark in "]}":
            if not frame.may_close or (mark == "}") != frame.is_object:
                return f"expected {_EXPECTED[awaits]}, not a closing bracket"
            self.stack.pop()
            self._value_ended()
            return ""
        if mark != awaits:
            return f"expected {_EXPECTED[awaits]}"
        if mark == ":":
            frame.awaits = "value"
        else:
            frame.awaits = "key" if frame.is_object else "value"
            frame.may_close = False
            frame.index += 1
        return ""

    def _value_ended(self) -> None:
        if self.stack:
            self.stack[-1].awaits, self.stack[-1].may_close = ",", True
        else:
            self.done = True

    def _path(self) -> str:
        parts = [self.root]
        for frame in self.stack:
            if not frame.is_object:
                parts.append(f"[{frame.index}]")
            elif frame.key:
                # A key is attacker-supplied text: only what looks like an element name is repeated in an error.
                parts.append("." + (frame.key if _NAME.fullmatch(frame.key) else "?"))
        return "".join(parts[:130])


_EXPECTED = {"key": "a key", ":": "a colon", "value": "a value", ",": "a comma or the end"}


def find_fault(text: str, *, depth: int) -> Fault | None:
    """The first fault of a JSON text, or None if it keeps every rule of this module."""
    return _Scanner(text, depth).scan()


def _string_fault(token: str) -> str:
    if "\\u" not in token:
        return ""
    high_ends_at = -1
    for escape in _ESCAPE.finditer(token):
        unit = int(escape[1], 16) if escape[1] else 0
        pairs = high_ends_at == escape.start()
        if high_ends_at >= 0 and not (pairs and 0xDC00 <= unit <= 0xDFFF):
            return "an unpaired surrogate"
        if 0xDC00 <= unit <= 0xDFFF and not pairs:
            return "an unpaired surrogate"
        high_ends_at = escape.end() if 0xD800 <= unit <= 0xDBFF else -1
    return "an unpaired surrogate" if high_ends_at >= 0 else ""


_SHORT_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _unescape(token: str) -> str:
    def plain(escape: re.Match[str]) -> str:
        if escape[1]:
            return chr(int(escape[1], 16))
        letter = escape[0][1]
        return _SHORT_ESCAPES.get(letter, letter)

    joined = _ESCAPE.sub(plain, token[1:-1])
    # A pair of escaped surrogates is one character, as the fast decoder sees it.
    return joined.encode("utf-16", "surrogatepass").decode("utf-16")
