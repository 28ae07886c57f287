"""How the console looks to one browser: what its user chose, kept in a cookie that names nobody.

It is kept in the browser, not with the account, so that the sign-in page has it too and the hospital holds no more
about its people (ADR 81). What a cookie says is one of the choices offered here, or counts as not said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self
from urllib.parse import parse_qs, urlencode

PREFERENCES_COOKIE: Final = "twinward_preferences"
KEPT_S: Final = 400 * 86_400
"""RFC 6265bis section 5.5: browsers keep no cookie longer."""
_MOST_CHARS: Final = 200


class Theme(StrEnum):
    """Dark letters on light paper, or the other way round. Nothing chosen: as the browser asks."""

    BROWSER = ""
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What one browser's user chose."""

    theme: Theme = Theme.BROWSER

    @classmethod
    def of(cls, cookie: str) -> Self:
        """Read a cookie, whoever wrote it."""
        if len(cookie) > _MOST_CHARS:
            return cls()
        said = {name: values[-1] for name, values in parse_qs(cookie).items()}
        theme = said.get("theme", "")
        return cls(Theme(theme) if theme in set(Theme) else Theme.BROWSER)

    def cookie(self) -> str:
        """The value that ``of`` reads."""
        return urlencode({"theme": self.theme.value})
