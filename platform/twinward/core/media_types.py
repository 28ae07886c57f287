"""Media types: what a body is said to be, and which of several kinds of answer a client would rather have.

RFC 9110, sections 5.6.6 (parameters), 8.3 (Content-Type), 12.4.2 (weights) and 12.5.1 (Accept). Parameters that say
nothing to this node are passed over; two mean something everywhere: ``charset``, which is UTF-8 here, and
``fhirVersion`` (https://hl7.org/fhir/R4/versioning.html#mt-version), which is that of R4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from twinward.core.errors import BadInput, UnsupportedMedia

MAX_HEADER_CHARS = 4096
FHIR_VERSION = "4.0"
_VERSIONS = frozenset({FHIR_VERSION, "4.0.1"})
_CHARSETS = frozenset({"utf-8", "utf8"})

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word, no secret
_TYPE = re.compile(rf"\s*(?P<type>{_TOKEN})(?:/(?P<subtype>{_TOKEN}))?\s*")
_PARAMETER = re.compile(rf';\s*(?:(?P<name>{_TOKEN})=(?:(?P<token>{_TOKEN})|"(?P<quoted>(?:[^"\\]|\\.)*)"))?\s*')
_MEMBER = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_WEIGHT = re.compile(r"(?:0?\.\d{1,3}|[01](?:\.\d{0,3})?)")
"""As RFC 9110 has it, and ``.2`` as Java's own client sends it."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """A type, or a range of types with ``*``; lower case. ``weight`` is 0 to 1, and 1 where nothing is said."""

    name: str
    fhir_version: str = ""
    charset: str = ""
    weight: float = 1.0

    @property
    def is_spoken(self) -> bool:
        """Whether its parameters leave it something that this node reads and writes."""
        return self.fhir_version in ("", *_VERSIONS) and self.charset in ("", *_CHARSETS)

    def closeness(self, offer: str) -> int:
        """How closely a range names a type: 0 not at all, 1 ``*/*``, 2 ``type/*``, 3 by name, 4 with its version."""
        if not self.is_spoken:
            return 0
        if self.name == offer:
            return 4 if self.fhir_version else 3
        if self.name == f"{offer.partition('/')[0]}/*":
            return 2
        return int(self.name == "*/*")


@dataclass(frozen=True, slots=True)
class Chosen:
    """An answer's type. ``label`` is what its Content-Type says."""

    name: str
    label: str


def read_media_type(text: str) -> MediaType | None:
    """One media type or range; None for what is none."""
    found = _TYPE.match(text)
    if found is None or not (found["subtype"] or found["type"] == "*"):
        return None
    name = f"{found['type']}/{found['subtype'] or '*'}".lower()  # "*" alone, as Java's own client sends it
    fhir_version = charset = ""
    weight, at = 1.0, found.end()
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            return None
        at = parameter.end()
        value = parameter["token"] or re.sub(r"\\(.)", r"\1", parameter["quoted"] or "")
        match (parameter["name"] or "").lower():
            case "q":
                if not _WEIGHT.fullmatch(value):
                    return None
                weight = min(float(value), 1.0)
                break  # what follows a weight belongs to no type
            case "fhirversion":
                fhir_version = value
            case "charset":
                charset = value.lower()
    return MediaType(name, fhir_version, charset, weight)


def preferred(accept: str, offers: Sequence[str]) -> Chosen | None:
    """Which of several types a client would rather have; without ``Accept`` the first. None: it takes none of them.

    Of types it likes alike, one that it names comes before one of a range, then those that are offered first.
    Raises ``BadInput`` for a header that is too long.
    """
    if len(accept) > MAX_HEADER_CHARS:
        raise BadInput(f"Accept has {MAX_HEADER_CHARS} characters at most here")
    return _preferred(accept, tuple(offers))


@lru_cache(maxsize=256)
def _preferred(accept: str, offers: tuple[str, ...]) -> Chosen | None:
    if not accept.strip(" \t,"):
        return Chosen(offers[0], offers[0])
    ranges = list(_ranges(accept))
    best: tuple[float, int] = (0.0, 0)
    chosen = None
    for offer in offers:
        # The range that names a type most closely says how much it is liked, RFC 9110 section 12.5.1.
        closest = max(ranges, key=lambda one: (one.closeness(offer), one.weight), default=None)
        if closest is None or not closest.closeness(offer) or not closest.weight:
            continue
        if (closest.weight, closest.closeness(offer)) > best:
            best = (closest.weight, closest.closeness(offer))
            version = f"; fhirVersion={FHIR_VERSION}" if closest.fhir_version and "fhir" in offer else ""
            chosen = Chosen(offer, offer + version)
    return chosen


def require_taken(said: Sequence[str], taken: Sequence[str]) -> str:
    """What a body is said to be.

    Args:
        said: the values of ``Content-Type``, of which there should be one.
        taken: the types that are read here.

    Raises:
        UnsupportedMedia: it is none of them, in another charset than UTF-8, of another release of FHIR, or says two.
    """
    read = read_media_type(said[0]) if len(said) == 1 and len(said[0]) <= MAX_HEADER_CHARS else None
    if read is None or read.name not in taken:
        raise UnsupportedMedia(f"this takes {' or '.join(taken)}", hint="set Content-Type", taken=tuple(taken))
    if read.charset not in ("", *_CHARSETS):
        raise UnsupportedMedia("a body is in UTF-8 here", hint="encode it anew", taken=tuple(taken))
    if not read.is_spoken:
        raise UnsupportedMedia(f"this takes FHIR {FHIR_VERSION}", hint="leave fhirVersion out", taken=tuple(taken))
    return read.name


def _ranges(accept: str) -> Iterator[MediaType]:
    for member in _MEMBER.findall(accept):
        one = read_media_type(member)
        if one is not None:
            yield one
