"""Which passwords are taken, and that each that was ever taken still opens its account."""

from __future__ import annotations

import unicodedata

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tests.brief_stretching import REAL
from twinward.access import passwords
from twinward.access.passwords import MAX_LENGTH, MIN_LENGTH, decoy, matches, require_strong, stretch
from twinward.core.errors import BadInput

ABOUT = ("olga.meyer", "Olga Meyer", "data office", "officer", "St. Anna Hospital", "st-anna", "twinward")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "another long password",
        "xK9!mQ2$vL5@",
        "1a2b-3c4d-5e6f-7a8b",
        "患者安全第一原则与隐私保护",
        "Übergrößenträger im Moor",
        "trois petits chats gris",
        "the lamp under the stairs " * 4,
    ],
)
def test_what_is_hard_to_guess_is_taken_in_any_script(password: str) -> None:
    if password.endswith(" "):
        with pytest.raises(BadInput, match="repeats"):  # however long
            require_strong(password, ABOUT)
    else:
        require_strong(password, ABOUT)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", f"at least {MIN_LENGTH}"),
        ("", f"at least {MIN_LENGTH}"),
        ("\ufdfa", f"at least {MIN_LENGTH}"),
        ("x" * (MAX_LENGTH + 1), f"at most {MAX_LENGTH}"),
        ("two lines\nof a password", "control"),
        ("aaaaaaaaaaaa", "repeats"),
        ("abcabcabcabc", "repeats"),
        ("abcabcabcabca", "repeats"),
        ("letmein-letmein-letmein", "repeats"),
        ("passwordpassword", "repeats"),
        ("PasswordPassword", "repeats"),
        ("患者患者患者患者患者患者", "repeats"),
        ("password1234", "breached"),
        ("QWERTYUIOP12", "breached"),
        ("1q2w3e4r5t6y", "breached"),
        ("iloveyou1234", "little more"),
        ("P@ssw0rd2026!", "little more"),
        ("Sommer2026!!!", "little more"),
        ("sunshine123456", "little more"),
        ("123456789012345", "little more"),
        ("abcdefghijklmnop", "little more"),
        ("poiuytrewqlkjhgfdsa", "little more"),
        ("aaaabbbbcccc", "little more"),
        ("olga.meyer-2026", "little more"),
        ("OlgaMeyerOfficer1", "little more"),
        ("st-anna-hospital", "little more"),
        ("ｐａｓｓｗｏｒｄ１２３４", "breached"),
    ],
)
def test_what_a_guesser_tries_first_is_refused_and_says_why(password: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as refusal:
        require_strong(password, ABOUT)
    assert password == "" or password not in str(refusal.value)


def test_one_text_is_one_password_however_it_is_composed() -> None:
    composed, decomposed = "Größe über alles 7", unicodedata.normalize("NFD", "Größe über alles 7")
    assert composed != decomposed
    kept = stretch(composed)
    assert matches(decomposed, kept)
    assert matches(composed, stretch(decomposed))
    assert not matches("Grosse uber alles 7", kept)


def test_what_was_kept_before_passwords_were_normalised_still_matches() -> None:
    old = unicodedata.normalize("NFD", "Größe über alles 7")
    kdf = Argon2id(salt=bytes(16), length=32, iterations=3, lanes=4, memory_cost=64 * 1024)
    assert matches(old, kdf.derive_phc_encoded(old.encode()))


def test_a_lone_surrogate_is_a_wrong_password_and_no_crash() -> None:
    assert not matches("\udcff", stretch("correct horse battery"))
    with pytest.raises(BadInput):
        require_strong("\udcff correct horse battery")


def test_what_is_kept_is_stretched_as_rfc_9106_recommends_and_so_is_the_decoy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REAL.items():
        monkeypatch.setattr(passwords, name, value)
    kept = stretch("correct horse battery")
    for one in (kept, decoy()):
        assert one.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert matches("correct horse battery", kept)
    assert not matches("correct horse", decoy())
