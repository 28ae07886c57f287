"""Signed notes against golang.org/x/mod's own note, and everything that must not pass for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from twinward_crypto.errors import InvalidSignature, MalformedKey
from twinward_ledger.errors import MalformedCheckpoint
from twinward_ledger.formats.note import (
    MAX_SIGNATURES,
    Algorithm,
    Note,
    NoteSigner,
    Signature,
    VerifierKey,
    verify_note,
)

SIGNER = NoteSigner("log.example/one", bytes(range(32)))
TEXT = "hello\nworld\n"
NOTE = Note(TEXT, (SIGNER.sign(TEXT),))
DATA = NOTE.encode()


def test_round_trip() -> None:
    verify_note(Note.parse(DATA), SIGNER.key)
    assert Note.parse(DATA) == NOTE
    assert VerifierKey.parse(str(SIGNER.key)) == SIGNER.key
    assert VerifierKey.parse(str(SIGNER.cosigner_key)).algorithm is Algorithm.COSIGNATURE_V1


def test_the_text_ends_at_the_last_empty_line() -> None:
    text = "a\n\nb\n"
    assert Note.parse(Note(text, (SIGNER.sign(text),)).encode()).text == text


def test_no_secret_in_the_repr() -> None:
    assert bytes(range(32)).hex() not in repr(SIGNER)


def test_the_go_note_verifies(shared_data: Path) -> None:
    case = json.loads((shared_data / "tlog-note" / "note.json").read_text())
    key = VerifierKey.parse(case["vkey"])
    note = Note.parse(case["note"].encode())
    verify_note(note, key)
    assert note.text == case["text"]
    assert note.encode() == case["note"].encode()
    assert str(key) == case["vkey"]


def test_the_go_notes_bad_keys_are_refused(shared_data: Path) -> None:
    for text in json.loads((shared_data / "tlog-note" / "note.json").read_text())["bad_vkeys"]:
        with pytest.raises(MalformedKey):
            VerifierKey.parse(text)


def test_every_flipped_byte_of_the_go_note_is_refused(shared_data: Path) -> None:
    case = json.loads((shared_data / "tlog-note" / "note.json").read_text())
    key, data = VerifierKey.parse(case["vkey"]), case["note"].encode()
    for at in range(len(data)):
        for bit in (0x01, 0x20, 0x80):
            altered = bytearray(data)
            altered[at] ^= bit
            with pytest.raises((InvalidSignature, MalformedCheckpoint)):
                verify_note(Note.parse(bytes(altered)), key)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(DATA[:-1], id="no final newline"),
        pytest.param(DATA.replace(b"\n\n", b"\n"), id="no empty line"),
        pytest.param(TEXT.encode() + b"\n", id="no signature"),
        pytest.param(DATA.replace(b"hello", b"hel\x07o"), id="control character"),
        pytest.param(DATA.replace(b"hello", b"hel\x0do"), id="carriage return"),
        pytest.param(DATA.replace(b"hello", b"hel\xffo"), id="not UTF-8"),
        pytest.param(DATA + str(SIGNER.sign(TEXT)).encode(), id="signed twice by one key"),
        pytest.param(DATA.replace("— ".encode(), b"- "), id="a hyphen for the dash"),
        pytest.param(DATA.replace(b"log.example/one ", b"log.example/one  "), id="two spaces"),
        pytest.param(DATA.replace(b"log.example/one", b"log+one"), id="plus in the name"),
        pytest.param(DATA.replace(b"log.example/one", "log\u2003one".encode()), id="Unicode space in the name"),
        pytest.param(DATA.replace(b"log.example/one ", b""), id="no name"),
        pytest.param(DATA[:-2] + b"!\n", id="not base64"),
        pytest.param(f"{TEXT}\n— a AAAA\n".encode(), id="less than a key id"),
        pytest.param(f"{TEXT}\n— a AAAAAA==\n".encode(), id="a key id and no signature"),
        pytest.param("x— a AAAAAAA=\n".encode(), id="a signature and no text"),
        pytest.param(f"{TEXT}\n— a AAAAAAB=\n".encode(), id="base64 that is not canonical"),
        pytest.param(b"x" * 300_000 + b"\n" + DATA, id="too long"),
        pytest.param(
            (TEXT + "\n" + "".join(f"— key{n} AAAAAAAA\n" for n in range(101))).encode(), id="too many signatures"
        ),
    ],
)
def test_malformed_notes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedCheckpoint):
        Note.parse(data)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(NoteSigner("log.example/one", bytes(32)).key, id="another key of that name"),
        pytest.param(NoteSigner("log.example/two", bytes(range(32))).key, id="the key under another name"),
        pytest.param(SIGNER.cosigner_key, id="the same key as a cosigner"),
    ],
)
def test_another_key_has_not_signed(key: VerifierKey) -> None:
    with pytest.raises(InvalidSignature):
        verify_note(NOTE, key)


def test_signatures_of_strangers_are_ignored() -> None:
    stranger = NoteSigner("stranger", bytes(32))
    nonsense = Signature("log.example/one", b"\0\0\0\0", b"nonsense")
    verify_note(NOTE.with_signatures(stranger.sign(TEXT), nonsense), SIGNER.key)


def test_a_known_keys_bad_signature_spoils_the_note() -> None:
    with pytest.raises(InvalidSignature):
        verify_note(Note(TEXT, (Signature(SIGNER.key.name, SIGNER.key.key_id, bytes(64)),)), SIGNER.key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "name+00000000+",
        "na me+0+AA==",
        str(SIGNER.key)[:-4],
        str(SIGNER.key).upper(),
        "++",
    ],
)
def test_malformed_keys_are_refused(text: str) -> None:
    with pytest.raises(MalformedKey):
        VerifierKey.parse(text)


def test_the_longest_note_and_the_most_signatures_are_read_and_no_more() -> None:
    lines = [f"— key{number} AAAAAAA=\n" for number in range(MAX_SIGNATURES + 1)]
    assert MAX_SIGNATURES == 100
    assert len(Note.parse(f"{TEXT}\n{''.join(lines[:-1])}".encode()).signatures) == MAX_SIGNATURES
    with pytest.raises(MalformedCheckpoint, match="signatures"):
        Note.parse(f"{TEXT}\n{''.join(lines)}".encode())
    filler = "x" * (256 * 1024 - len(DATA) - 1) + "\n"
    assert Note.parse(filler.encode() + DATA).text.endswith(TEXT)
    with pytest.raises(MalformedCheckpoint, match="longer"):
        Note.parse(b"x" + filler.encode() + DATA)


def test_the_shortest_text_is_an_empty_line() -> None:
    assert Note.parse("\n\n— a AAAAAAA=\n".encode()) == Note("\n", (Signature("a", bytes(4), b"\0"),))


@pytest.mark.parametrize("name", ["!", "a\ud7ffb", "a\ue000b", "名"])
def test_whatever_is_printed_makes_a_name(name: str) -> None:
    assert Note.parse(Note(TEXT, (NoteSigner(name, bytes(32)).sign(TEXT),)).encode()).signatures[0].name == name


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\x01b", "a\ud800b"])
def test_bad_names_and_seeds_make_no_signer(name: str) -> None:
    with pytest.raises(MalformedKey):
        NoteSigner(name, bytes(32))
    with pytest.raises(MalformedKey):
        NoteSigner("name", bytes(31))
