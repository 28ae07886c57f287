"""What HTML's character references stand for, however long they are written."""

from __future__ import annotations

import html
import re

_DECIMAL = re.compile(r"&#0*([0-9]+)")
_MOST_DIGITS = 9
"""More than any character's number has; so many nines are none's, and stay none's."""


def unescaped(text: str) -> str:
    """A text without character references. Never fails: ``html.unescape`` does, for one of more digits than Python
    takes for a number at once, and leading zeros count there.
    """
    try:
        return html.unescape(text)
    except ValueError:
        return html.unescape(_DECIMAL.sub(lambda found: f"&#{found[1][:_MOST_DIGITS]}", text))
