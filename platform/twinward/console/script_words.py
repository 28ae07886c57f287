"""What the console's scripts say, in the viewer's language, as a page hands it to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from twinward.console.viewer import Language, Viewer, gettext, viewed_by, viewer

STATIC: Final = Path(__file__).parent / "static"
KEYWORDS: Final = {"say": None, "Error": None, "require": (2,)}
"""By what a script's messages stand in its code: said there, or thrown for whoever shows it."""


def script_words() -> str:
    """JSON from English to the viewer's language; empty where English is spoken."""
    language = viewer().language
    return "" if language is Language.ENGLISH else _words(language)


@cache
def _words(language: Language) -> str:
    with viewed_by(Viewer(language)):
        said = {text: gettext(text) for text in script_messages()}
    return json.dumps({text: other for text, other in said.items() if other != text}, ensure_ascii=False)


def script_messages() -> Iterator[str]:
    """Every message of every script."""
    from babel.messages.extract import extract

    for script in sorted(STATIC.glob("*.js")):
        with script.open("rb") as opened:
            for _, text, _, _ in extract("javascript", opened, keywords=KEYWORDS):
                if text and "${" not in text:  # of numbers within a file; they stay as they are
                    yield str(text)
