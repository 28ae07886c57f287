"""What a text tells of, by stems of words: in English, German, French, Spanish and Italian, and a few in other scripts.

It errs towards telling: "family history of depression" and "denies opioid abuse" say something of a person too. Only
what is common in ordinary care and means something else (ST depression, non-alcoholic fatty liver) is taken out first.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

from twinward.core.vocabulary import Category
from twinward.fhir.json.values import stream_safe
from twinward.fhir.sensitivity.terminologies import NOTHING, Labels, tables_of_all

CHARS_AT_ONCE, OVERLAP = 1_000_000, 2_000
"""A longer text is looked at piece by piece: so no thread waits long for another's text. A piece begins with the end
of the one before, for words that would be cut."""

_INFIX = 8
"""Letters a stem has at least to be looked for inside a compound word, as in ``Wochenbettdepression``."""

_ORDINARY = (
    r"\b(?:st|st segment|respirat\w+|bone marrow|marrow|medullaire|myocardial|cardiac|cns|immune) depress\w*",
    r"\bdepress\w* (?:skull )?(?:fracture|nasal|bridge)|\btongue depress\w*|\bdepressor\w*",
    r"\b(?:atem|kreislauf|knochenmark\w*|myelo|immun)depress\w*|\bdepress\w* of (?:the )?st\b",
    r"\b(?:non|nicht) ?al[ck]o\w+|\balcoholic beverage\w*",
    r"\b(?:isopropyl|cetyl|benzyl|stearyl|wool) alcohol",
    r"\bbipolar (?:electro|forceps|caut|lead|coag|pac|hip|hemi|prosthe|resect|diatherm|sensing)\w*",
    r"\b(?:lithium|litio) ?h?eparin\w*|\bmanicur\w*|\baborted\b|\bfalciform ligament|\bligamento? falciform\w*",
    r"\bha?e?mophil\w* (?:influenz|parainf|ducreyi|b\b|type b)\w*|\bchlamyd\w* (?:pneumon|psitt)\w*",
    r"\bgad ?65\w*|\bgad (?:auto)?anti\w*|\bsevrage (?:ventil|respir)\w*",
    r"\bnirmatrelvir\w* (?:and |with )?ritonavir",
    r"\bgenetically (?:engineered|modified)|\bpermutation\w*",
)
"""What has a word and tells nothing by it."""
_SHOUTED = re.compile(r"(?<![A-Za-z-])AIDS(?![A-Za-z])")
_SEPARATORS = re.compile(r"[^0-9a-z.]+")
_BROKEN = re.compile(r"(?<=\w)-[ \t]*\r?\n[ \t]*(?=\w)")
"""Where a line of a letter ends within a word."""

_WORD = re.compile(r"[0-9a-z]+")


@dataclass(frozen=True, slots=True)
class _Lexicon:
    stems: dict[str, Labels]
    lengths: tuple[int, ...]
    inside: re.Pattern[str]
    exact: dict[str, Labels]
    phrases: tuple[tuple[re.Pattern[str], Labels], ...]
    other_scripts: tuple[tuple[str, Labels], ...]
    ordinary: re.Pattern[str]


def labels_of_text(text: str) -> Labels:
    """What a text tells of, all of it."""
    found = _labels_of_piece(text[:CHARS_AT_ONCE])
    for start in range(CHARS_AT_ONCE, len(text), CHARS_AT_ONCE):
        found |= _labels_of_piece(text[start - OVERLAP : start + CHARS_AT_ONCE])
    return found


def _labels_of_piece(text: str) -> Labels:
    lexicon = _lexicon()
    text = stream_safe(text)
    plain = text.casefold()
    found = _labels_of_piece(_BROKEN.sub("", text)) if _BROKEN.search(text) else NOTHING
    if not plain.isascii():
        # Soft hyphens and what has no width (Cf) stand within words and are not seen.
        # Looked for before the accents go, and after: decomposing breaks other scripts' letters up.
        plain = unicodedata.normalize("NFKD", plain)
        plain = "".join([one for one in plain if not unicodedata.combining(one) and unicodedata.category(one) != "Cf"])
        if not plain.isascii():
            composed = unicodedata.normalize("NFKC", text.casefold())
            for piece, labels in lexicon.other_scripts:
                if piece in plain or piece in composed:
                    found |= labels
    plain = _SEPARATORS.sub(" ", plain)
    plain = lexicon.ordinary.sub(" ", plain)
    for word in _WORD.findall(plain):
        found |= _labels_of_word(word)
    for pattern, labels in lexicon.phrases:
        if not labels <= found and pattern.search(plain):
            found |= labels
    if _SHOUTED.search(text) and not (text.isupper() and len(text) > len("AIDS/HIV ")):
        found |= {Category.HIV}
    return found


@lru_cache(maxsize=65_536)
def _labels_of_word(word: str) -> Labels:
    lexicon = _lexicon()
    found = lexicon.exact.get(word, NOTHING)
    for length in lexicon.lengths:
        found |= lexicon.stems.get(word[:length], NOTHING)
    if len(word) > _INFIX:
        found = found.union(*(lexicon.stems[stem] for stem in lexicon.inside.findall(word)))
    return found


@cache
def _lexicon() -> _Lexicon:
    stems: dict[str, Labels] = {}
    exact: dict[str, Labels] = {}
    phrases: list[tuple[re.Pattern[str], Labels]] = []
    scripts: list[tuple[str, Labels]] = []
    for category, tables in tables_of_all():
        labels, words = frozenset({category}), tables["words"]
        for into, listed in ((stems, words["stems"]), (exact, words["exact"])):
            for one in listed.split():
                into[one] = into.get(one, NOTHING) | labels
        phrases.append((re.compile("|".join(words["phrases"])), labels))
        scripts += [(one, labels) for one in words.get("other_scripts", ())]
    long = sorted((one for one in stems if len(one) >= _INFIX), key=len, reverse=True)
    lengths = tuple(sorted({len(one) for one in stems}))
    inside, ordinary = re.compile("|".join(long)), re.compile("|".join(_ORDINARY))
    return _Lexicon(stems, lengths, inside, exact, tuple(phrases), tuple(scripts), ordinary)
