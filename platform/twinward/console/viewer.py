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
from typing import Any, Final, cast
from zoneinfo import ZoneInfo, available_timezones

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from twinward.core.errors import BadInput
from twinward.core.sentences import Moment, Sentence
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


def in_words(said: str) -> str:
    """What something deeper found, in the viewer's language and by their clock; what is in no catalogue as it is."""
    if not isinstance(said, Sentence):
        known = gettext(said)
        return known if known != said else reasons(said)
    count = said.values.get("count")
    template = ngettext(said.template, said.many, cast(int, count)) if said.many else gettext(said.template)
    return template.format(**{name: _value(value) for name, value in said.values.items()})


def reasons(said: str) -> str:
    """Why policy decided so, each rule's sentence by itself: in words where it is one that comes with Twinward."""
    return "; ".join(gettext(one) for one in said.split("; "))


def _value(value: object) -> object:
    if isinstance(value, Sentence):
        return in_words(value)
    if isinstance(value, Moment):
        return minute(value).striptags()
    return number(value) if type(value) is int else value


def shown(value: Any) -> Any:
    """What a page's template writes (a Jinja ``finalize``): sentences in words, text made visible."""
    return visible_value(str(in_words(value)) if isinstance(value, Sentence) else value)


def second(at_ms: int) -> Markup:
    """A moment by the viewer's clock, to the second; which zone's, the page's head says."""
    return _time(at_ms, f"{_MINUTES[viewer().language]}:%S", named=True)


def field(at_ms: int) -> str:
    """A moment as a form's field has it (``datetime-local``), by the viewer's clock."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(viewer().zone)).strftime("%Y-%m-%dT%H:%M")


def instant(written: str) -> int:
    """What such a field says, in milliseconds; 0 for an empty one. An hour that comes twice is the first."""
    if not written:
        return 0
    try:
        return round(datetime.fromisoformat(written).replace(tzinfo=ZoneInfo(viewer().zone)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise BadInput(
            message("a time is written as 2026-01-31T08:30"), hint=message("go back and enter it again")
        ) from None


def minute(at_ms: int) -> Markup:
    """A moment by the viewer's clock, to the minute; machines read the very instant."""
    return _time(at_ms, _MINUTES[viewer().language], named=True)


def day(at_ms: int) -> Markup:
    """The day of a moment by the viewer's calendar."""
    return _time(at_ms, _DAYS[viewer().language], named=False)


def number(value: int) -> str:
    """A whole number, its thousands set apart as the viewer's language does."""
    return f"{value:,}".replace(",", "." if viewer().language is Language.GERMAN else ",")


def decimal(value: float, places: int) -> str:
    """A number with so many places, its thousands and its point as the viewer's language has them."""
    written = f"{value:,.{places}f}"
    return written.translate(str.maketrans(",.", ".,")) if viewer().language is Language.GERMAN else written


@pass_context
def say(context: Context, text: str, /, **values: Any) -> Markup:
    """Jinja's ``gettext``: a message is markup of ours, what is put into it is text of anybody's, made visible."""
    return Markup(context.call(gettext, text)) % _shown(values)  # noqa: S704 - messages are the catalogue's


@pass_context
def say_many(context: Context, one: str, many: str, count: int, /, **values: Any) -> Markup:
    """Jinja's ``ngettext``, as ``say``."""
    return Markup(context.call(ngettext, one, many, count)) % _shown({"num": count} | values)  # noqa: S704


def _shown(values: dict[str, Any]) -> dict[str, Markup]:
    return {name: escape(shown(value)) for name, value in values.items()}


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
