"""What the console's catalogue has to hold: every message of its templates and code, and of the tables it speaks from.

``python -m tests.checks.catalogue`` brings the catalogues up to date with the code: new messages are added without a
translation, which ``tests/unit/console/test_catalogue.py`` then asks for; messages that are gone are taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from tests.checks import refusals
from tests.tools import ROOT
from twinward.access import emergencies, policy_desk, policy_faults
from twinward.access.policy import NOT_COVERED, Policy
from twinward.access.policy_rules import rules
from twinward.audit import fillers
from twinward.audit.events import plain_words, wording
from twinward.breach import service as breaches
from twinward.breach.models import Audience
from twinward.console import own_consents
from twinward.console.script_words import script_messages
from twinward.console.viewer import LOCALES, NAMES, Language
from twinward.core.vocabulary import Category, Role
from twinward.erasure import desk as erasures
from twinward.erasure import proposals
from twinward.exchange.models import RESOURCES
from twinward.live.signals import SIGNALS
from twinward.overview import condition
from twinward.review.explanations import TEMPLATES
from twinward.review.relations import RELATIONS

_PACKAGE: Final = ROOT / "platform/twinward"
_SOURCES: Final = (
    *sorted((_PACKAGE / "console").glob("*.py")),
    *sorted((_PACKAGE / "console/templates").glob("*.html")),
    _PACKAGE / "audit/events/plain_words.py",
    *sorted(one for one in _PACKAGE.rglob("*.py") if "core.sentences import" in one.read_text("utf-8")),
)
_KEYWORDS: Final = {
    **{"_": None, "gettext": None, "ngettext": (1, 2), "message": None, "say": None},
    **{"sentence": None, "counted": (1, 2), "Reason": (2,), "Finding": (3,), "_linked": (2,)},
}
_REMEDIES: Final = {"Finding": (4,)}

_OPTIONS: Final = {"extensions": "jinja2.ext.i18n", "newstyle_gettext": "true", "trimmed": "true", "silent": "false"}

QUERY_FIELDS: Final = (
    *("agent", "unit", "twin", "text", "zone", "since", "until", "role", "action", "purpose", "category", "sort"),
    *("emergency", "own"),
)
"""What a list of accesses is filtered by (``audit.queries``)."""

TRANSLATED: Final = tuple(one for one in Language if one is not Language.ENGLISH)
PLACEHOLDER: Final = re.compile(r"%\(\w+\)s|%[sd]|{\w+(?:!r)?}")
"""What stands for a value in a message: gettext's, or ``str.format``'s."""

Message = str | tuple[str, str]


@cache
def messages() -> Mapping[Message, str]:
    """Every message, with the file it stands in."""
    found: dict[Message, str] = {}
    for source in _SOURCES:
        for keywords in (_KEYWORDS, _REMEDIES) if b"Finding(" in source.read_bytes() else (_KEYWORDS,):
            for text in _extracted(source, keywords):
                found.setdefault(text, str(source.relative_to(ROOT)))
    for source in refusals.rooms():
        for text in refusals.texts(source):
            found.setdefault(text, str(source.relative_to(ROOT)))
    for text in script_messages():
        found.setdefault(text, "platform/twinward/console/static")
    for text in _tables():
        found.setdefault(text, "platform/twinward/audit/events/wording.py")
    return found


def _extracted(source: Path, keywords: Mapping[str, tuple[int, ...] | None]) -> Iterator[Message]:
    method = "jinja2.ext:babel_extract" if source.suffix == ".html" else "python"
    with source.open("rb") as opened:
        for _, text, _, _ in extract(method, opened, keywords=keywords, options=_OPTIONS):
            if text and not str(text).startswith("twinward "):  # a command is typed as it is
                yield text if isinstance(text, str) else (str(text[0]), str(text[1]))


def _tables() -> Iterator[str]:
    """What is said by a word of a vocabulary."""
    yield from (one.value for one in (*Role, *Category))
    for told in (emergencies, policy_desk, breaches, erasures):
        yield from told.REASONS.values()
    yield from policy_faults.SHAPES.values()
    yield from (signal.title for signal in SIGNALS)
    yield from RESOURCES.values()
    yield from wording.PURPOSES.values()
    yield from wording.ROWS
    yield from TEMPLATES
    yield "the settings' own"  # why version 0 of the policy is in force (``access.policy_store``)
    yield NOT_COVERED
    yield from (rule.sentence for rule in rules(Policy.load(None).text))
    yield from (part for one in condition.AREAS for part in one[1:3])
    yield from (one.value for one in Audience)
    yield from QUERY_FIELDS
    yield from (proposals.WAITING, proposals.UNDER_WAY, proposals.ERASED, proposals.WITHDRAWN, proposals.MOOT)
    yield from ("over", "to come")  # of a role that is lent (``access.account_store``)
    yield from ("opened", "counting", "assessed", "drafted", "noted", "notified", "closed")
    words = plain_words
    for table in (words.WHATS, words.WHYS, words.WHOS, words.SEARCHED, words.CONSENTED, words.INVITATIONS):
        yield from table.values()
    yield from (said for both in own_consents.SAID.values() for said in both)
    yield from own_consents.ROLES.values()
    yield from (said for each in own_consents.ASKERS.values() for said in each.values())
    yield from words.TIED
    yield from words.WAYS_IN
    yield from RELATIONS.values()
    yield from wording.deeds()
    yield from ("the password was right", fillers.REASON)
    yield from refusals.of_the_ledger()


def catalogue(language: Language) -> Catalog:
    """A language's catalogue as it is kept."""
    with (LOCALES / f"{language.value}.po").open("rb") as source:
        return read_po(source, locale=language.value)


def forms(said: object) -> tuple[str, ...]:
    """A message or its translation, in each of its forms (of one, of many)."""
    return tuple(said) if isinstance(said, (tuple, list)) else (str(said or ""),)


def _head(kept: Catalog) -> None:
    """Nothing that changes by itself: a catalogue differs by its messages only."""
    kept.header_comment = f"# The console in {NAMES[Language(str(kept.locale))]}: see platform/docs/console.md"
    kept.project, kept.version, kept.fuzzy = "twinward", "1", False
    kept.msgid_bugs_address = kept.last_translator = kept.language_team = "https://twinward.example"
    kept.creation_date = kept.revision_date = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    """Bring every catalogue up to date, and say how much is left to translate."""
    template = Catalog(charset="utf-8")
    for text, source in sorted(messages().items(), key=lambda one: (one[1], str(one[0]))):
        template.add(text, locations=[(source, None)])
    for language in TRANSLATED:
        path = LOCALES / f"{language.value}.po"
        kept = catalogue(language) if path.exists() else Catalog(locale=language.value, charset="utf-8")
        kept.update(template, no_fuzzy_matching=True)
        kept.obsolete.clear()
        _head(kept)
        with path.open("wb") as target:
            write_po(target, kept, width=0, omit_header=False, include_lineno=False, ignore_obsolete=True)
        left = sum(1 for one in kept if one.id and not all(forms(one.string)))
        print(f"{path.relative_to(ROOT)}: {len(kept)} messages, {left} to translate")  # noqa: T201 - what it is run for


if __name__ == "__main__":
    main()
