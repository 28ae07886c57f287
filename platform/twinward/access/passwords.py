"""Passwords: which are taken, how they are kept, how one is checked.

What is taken follows NIST SP 800-63B-4 section 3.1.1: a length and no rules of composition, every character, a check
against breached passwords and the account's own words; what is typed is normalised (NFKC) first. Kept is Argon2id
(RFC 9106, second recommended option: 3 passes, 64 MiB, 4 lanes).
"""

from __future__ import annotations

import base64
import re
import secrets
import threading
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib import resources

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from twinward.core.errors import BadInput, Busy
from twinward.core.sentences import sentence

MIN_LENGTH = 12
MAX_LENGTH = 200
"""In characters, so that a phrase fits and nobody stretches megabytes."""
_LEAST_POINTS = 6
_WORD_POINTS = 2
_LEAST_WORD, _LONGEST_WORD = 4, 24
_RUNS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop")
_YEAR = re.compile(r"(19|20)[0-9]{2}")
_LEET = str.maketrans("@4301$5!7", "aaeolssit")
_HINT = "three or four words that have nothing to do with each other make a good one"

_SALT_BYTES, _BYTES = 16, 32
_PASSES, _MEMORY_KIB, _LANES = 3, 64 * 1024, 4
AT_ONCE = 4
"""Passwords stretched at the same time: each takes 64 MiB, and anybody may ask for one."""
_WAIT_S = 20
_stretching = threading.BoundedSemaphore(AT_ONCE)


def normalised(password: str) -> str:
    """What is stretched of what was typed: one form for each text, however a keyboard composes it (UAX 15, NFKC)."""
    return unicodedata.normalize("NFKC", password)


def require_strong(password: str, about: Iterable[str] = ()) -> None:
    """Take a new password or say what is wrong with it.

    Args:
        password: as it was typed.
        about: what anybody knows of its owner: the account, a name, the unit, the hospital.

    Raises:
        BadInput: too short, too long, breached, repeated, or little more than the owner's own words.
    """
    text = normalised(password)
    if min(len(text), len(password)) < MIN_LENGTH:
        raise BadInput(sentence("a password needs at least {least} characters", least=MIN_LENGTH), hint=_HINT)
    if max(len(text), len(password)) > MAX_LENGTH:
        raise BadInput(sentence("a password has at most {most} characters", most=MAX_LENGTH))
    if any(unicodedata.category(one) in ("Cc", "Cs") for one in text):
        raise BadInput("a password holds no control characters")
    plain = text.casefold()
    if _period(plain) <= len(plain) // 2:
        raise BadInput("this password repeats itself", hint=_HINT)
    if plain in _common():
        raise BadInput("this password stands in lists of breached ones", hint=_HINT)
    if min(_points(plain, about), _points(plain.translate(_LEET), about)) < _LEAST_POINTS:
        raise BadInput(
            "this password is little more than a common one, a row of keys or the account's own name", hint=_HINT
        )


def stretch(password: str) -> str:
    """A password as it is kept: a PHC string. Raises ``Busy`` where too many are being stretched."""
    kdf = Argon2id(
        salt=secrets.token_bytes(_SALT_BYTES), length=_BYTES, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB
    )
    with _Turn():
        return kdf.derive_phc_encoded(normalised(password).encode("utf-8", "surrogatepass"))


def decoy() -> str:
    """What an unknown account is checked against: nobody's password, and as costly to check as anybody's."""
    salt, drawn = (_phc_base64(secrets.token_bytes(size)) for size in (_SALT_BYTES, _BYTES))
    return f"$argon2id$v=19$m={_MEMORY_KIB},t={_PASSES},p={_LANES}${salt}${drawn}"


def _phc_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def matches(password: str, kept: str) -> bool:
    """Whether a password is the kept one. What was kept before passwords were normalised still matches.

    How long it takes depends on what was typed, never on what is kept. Raises ``Busy`` as ``stretch``.
    """
    typed = dict.fromkeys((normalised(password), password))
    with _Turn():
        fits = [_verified(one, kept) for one in typed]  # all of them, whichever fits: the time tells nothing
    return any(fits)


def _verified(password: str, kept: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password.encode("utf-8", "surrogatepass"), kept)
    except InvalidKey:
        return False
    return True


class _Turn:
    """One of the places where a password is stretched; whoever finds none in time is told to come back."""

    def __enter__(self) -> None:
        if not _stretching.acquire(timeout=_WAIT_S):
            raise Busy("too many sign-ins at once", hint="try again in a moment")

    def __exit__(self, *_: object) -> None:
        _stretching.release()


def _points(text: str, about: Iterable[str]) -> int:
    """How much there is to guess: a common password or a run counts as little as a couple of characters.

    The owner's words count for nothing, and nothing counts twice.
    """
    for word in _words(about):
        text = text.replace(word, "\0")
    found: set[str] = set()
    position = points = 0
    while position < len(text):
        size, worth = _piece(text, position)
        piece = text[position : position + size]
        if piece != "\0" and piece not in found:
            found.add(piece)
            points += worth
        position += size
    return points


def _piece(text: str, start: int) -> tuple[int, int]:
    """The longest thing a guesser would try whole from here, and its points."""
    sizes = range(min(len(text) - start, _LONGEST_WORD), _LEAST_WORD - 1, -1)
    word = next((size for size in sizes if text[start : start + size] in _common()), 0)
    run = max(_run(text, start), 4 if _YEAR.match(text, start) else 0)
    if run >= max(word, 3):
        return run, 1
    return (word, _WORD_POINTS) if word else (1, 1)


def _run(text: str, start: int) -> int:
    """How long one character repeats, or a row of keys, letters or digits goes on, up or down."""
    longest = 1
    while start + longest < len(text) and text[start + longest] == text[start]:
        longest += 1
    for row in (one[::way] for one in _RUNS for way in (1, -1)):
        at = row.find(text[start])
        size = 0
        while at >= 0 and start + size < len(text) and at + size < len(row) and text[start + size] == row[at + size]:
            size += 1
        longest = max(longest, size)
    return longest


def _words(about: Iterable[str]) -> list[str]:
    """The words of 3 characters and more that the owner is known by, the longest first."""
    spaced = ("".join(one if one.isalnum() else " " for one in normalised(text).casefold()) for text in about)
    return sorted({word for text in spaced for word in text.split() if len(word) >= 3}, key=len, reverse=True)


def _period(text: str) -> int:
    """The length of the shortest piece that the text is made of, over and over (the last may be cut off)."""
    return next(size for size in range(1, len(text) + 1) if text[size:] == text[: len(text) - size])


@cache
def _common() -> frozenset[str]:
    listed = (resources.files("twinward.access") / "common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(line for line in listed.splitlines() if not line.startswith("#"))
