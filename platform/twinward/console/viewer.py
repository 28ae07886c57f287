"""For whom a page is made: in which language its words are, and by whose clock its times.

It is set once for each request and read wherever words are put together, in templates and in Python, so that no
function has to hand it on. English stands in the code; other languages in gettext catalogues under ``locales``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from twinward.core.visible_text import visible_value

LOCALES: Final = Path(__file__).parent / "locales"
_REGIONS: Final = frozenset(
    ("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")
)


class Language(StrEnum):
    """What the console speaks, by BCP 47 tag."""

    ENGLISH = "en"
    GERMAN = "de"


NAMES: Final = {Language.ENGLISH: "English", Language.GERMAN: "Deutsch"}
"""Each in its own words, whatever language the page is in."""
_MINUTES: Final = {Language.ENGLISH: "%Y-%m-%d %H:%M", Language.GERMAN: "%d.%m.%Y, %H:%M"}
_DAYS: Final = {Language.ENGLISH: "%Y-%m-%d", Language.GERMAN: "%d.%m.%Y"}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who a page is for."""

    language: Language = Language.ENGLISH
    zone: str = "UTC"


_viewer: ContextVar[Viewer] = ContextVar("viewer", default=Viewer())  # noqa: B039 - frozen


@contextmanager
def viewed_by(viewer: Viewer) -> Iterator[None]:
    """Make pages for this viewer meanwhile."""
    token = _viewer.set(viewer)
    try:
        yield
    finally:
        _viewer.reset(token)


def viewer() -> Viewer:
    """Who the page that is being made is for."""
    return _viewer.get()


@cache
def zones() -> tuple[str, ...]:
    """The time zones that may be chosen: UTC, and each of the IANA database that is of a place."""
    return ("UTC", *sorted(one for one in available_timezones() if one.partition("/")[0] in _REGIONS and "/" in one))


def spoken(accept_language: str) -> Language | None:
    """The best language of an Accept-Language header (RFC 9110, 12.5.4) that the console speaks; None for none."""
    wanted = []
    for place, part in enumerate(accept_language[:500].split(",")):
        tag, _, weight = part.strip().partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        language = tag.strip().lower().partition("-")[0]
        if 0 < quality <= 1 and language in set(Language):
            wanted.append((-quality, place, Language(language)))
    return min(wanted)[2] if wanted else None


def gettext(message: str) -> str:
    """A message in the viewer's language; in English where the catalogue lacks it. Nothing said stays so."""
    return _catalogue(viewer().language).gettext(message) if message else ""  # a catalogue's header stands under ""


def ngettext(one: str, many: str, count: int) -> str:
    """As ``gettext``, in the form for so many."""
    return _catalogue(viewer().language).ngettext(one, many, count)


def message(text: str) -> str:
    """Marks an English text for the catalogue where it stands, to be said by ``gettext`` later."""
    return text


def minute(at_ms: int) -> Markup:
    """A moment by the viewer's clock, to the minute; machines read the very instant."""
    return _time(at_ms, _MINUTES[viewer().language], named=True)


def day(at_ms: int) -> Markup:
    """The day of a moment by the viewer's calendar."""
    return _time(at_ms, _DAYS[viewer().language], named=False)


def number(value: int) -> str:
    """A whole number, its thousands set apart as the viewer's language does."""
    return f"{value:,}".replace(",", "." if viewer().language is Language.GERMAN else ",")


@pass_context
def say(context: Context, text: str, /, **values: Any) -> Markup:
    """Jinja's ``gettext``: a message is markup of ours, what is put into it is text of anybody's, made visible."""
    return Markup(context.call(gettext, text)) % _shown(values)  # noqa: S704 - messages are the catalogue's


@pass_context
def say_many(context: Context, one: str, many: str, count: int, /, **values: Any) -> Markup:
    """Jinja's ``ngettext``, as ``say``."""
    return Markup(context.call(ngettext, one, many, count)) % _shown({"num": count} | values)  # noqa: S704


def _shown(values: dict[str, Any]) -> dict[str, Markup]:
    return {name: escape(visible_value(value)) for name, value in values.items()}


def _time(at_ms: int, form: str, *, named: bool) -> Markup:
    then = datetime.fromtimestamp(at_ms / 1000, UTC)
    here = then.astimezone(ZoneInfo(viewer().zone))
    name = f" {here.tzname()}" if named else ""
    return Markup('<time datetime="{}">{}{}</time>').format(f"{then:%Y-%m-%dT%H:%M:%SZ}", here.strftime(form), name)


@cache
def _catalogue(language: Language) -> NullTranslations:
    if language is Language.ENGLISH:
        return NullTranslations()
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po
    from babel.support import Translations

    with (LOCALES / f"{language.value}.po").open("rb") as source:
        catalogue = read_po(source, locale=language.value)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return Translations(compiled)
