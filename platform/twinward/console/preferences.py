"""How the console looks to one browser: what its user chose, kept in a cookie that names nobody.

It is kept in the browser, not with the account, so that the sign-in page has it too and the hospital holds no more
about its people (ADR 81). What a cookie says is one of the choices offered here, or counts as not said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self
from urllib.parse import parse_qs, urlencode

from twinward.console.viewer import Language, Viewer, spoken, zones

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
    """What one browser's user chose; nothing said of language or zone: as the browser asks, as the hospital's are."""

    theme: Theme = Theme.BROWSER
    language: Language | None = None
    zone: str = ""

    @classmethod
    def of(cls, cookie: str) -> Self:
        """Read a cookie, whoever wrote it."""
        if len(cookie) > _MOST_CHARS:
            return cls()
        said = {name: values[-1] for name, values in parse_qs(cookie).items()}
        theme, language, zone = (said.get(name, "") for name in ("theme", "language", "zone"))
        return cls(
            Theme(theme) if theme in set(Theme) else Theme.BROWSER,
            Language(language) if language in set(Language) else None,
            zone if zone in zones() else "",
        )

    def cookie(self) -> str:
        """The value that ``of`` reads."""
        chosen = {"theme": self.theme.value, "language": self.language or "", "zone": self.zone}
        return urlencode({name: value for name, value in chosen.items() if value})

    def viewer(self, accept_language: str, zone: str) -> Viewer:
        """For whom pages are made: what was chosen, else what the browser asks for and the hospital's time zone."""
        return Viewer(self.language or spoken(accept_language) or Language.ENGLISH, self.zone or zone)
