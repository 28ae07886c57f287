"""Quorum policies: what the file may say, which line is wrong, and which witnesses are enough."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinward_crypto.errors import InvalidSignature
from twinward_ledger.errors import MalformedPolicy, QuorumNotReached
from twinward_ledger.formats.checkpoint import Checkpoint, sign_checkpoint
from twinward_ledger.formats.cosignature import cosign
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.formats.policy import MAX_POLICY_BYTES, Group, PolicyWitness, QuorumPolicy

LOG = NoteSigner("log.example/one", b"\1" * 32)
SIGNERS = {name: NoteSigner(f"w.example/{name}", bytes([number]) * 32) for number, name in enumerate("abcdef", 2)}
KEYS = {name: signer.cosigner_key for name, signer in SIGNERS.items()}

EXAMPLE = f"""
# Two organisations: two of the first, one of the second.
log {LOG.key} https://log.example/one/
witness a {KEYS["a"]} https://a.example/w/
witness b {KEYS["b"]}
\twitness  c\t{KEYS["c"]}\x20
group first 2 a b c
witness d {KEYS["d"]}
witness e {KEYS["e"]}
group second any d e
  # indented
group both all first second
quorum both
"""


def note(*names: str) -> bytes:
    signed = sign_checkpoint(Checkpoint(LOG.key.name, 7, b"\5" * 32), LOG)
    return signed.with_signatures(*(cosign(signed.text, 1_700_000_000, SIGNERS[name]) for name in names)).encode()


@pytest.mark.parametrize("count", range(6))
def test_nested_groups_are_what_they_say(count: int) -> None:
    policy = QuorumPolicy.parse(EXAMPLE.encode())
    assert policy.needed == 3
    for names in itertools.combinations("abcde", count):
        enough = len({*"abc"} & set(names)) >= 2 and bool({*"de"} & set(names))
        assert policy.satisfied_by([KEYS[name] for name in names]) is enough
        if enough:
            assert policy.open(note(*names))[0].size == 7
        else:
            with pytest.raises(QuorumNotReached):
                policy.open(note(*names))


def test_what_is_read_is_written_again() -> None:
    policy = QuorumPolicy.parse(EXAMPLE.encode())
    assert policy.logs == ((LOG.key, "https://log.example/one"),)
    assert policy.witnesses[0] == PolicyWitness("a", KEYS["a"], "https://a.example/w")
    again = QuorumPolicy.parse(policy.encode())
    assert (set(again.witnesses), again.logs, again.quorum) == (set(policy.witnesses), policy.logs, policy.quorum)
    assert again.groups == policy.groups


def test_nobody_a_witness_alone_and_k_of_n() -> None:
    nobody = QuorumPolicy.parse(f"log {LOG.key}\nquorum none\n".encode())
    assert (nobody.needed, nobody.satisfied_by([])) == (0, True)
    alone = QuorumPolicy.parse(f"witness a {KEYS['a']}\nquorum a".encode())
    assert (alone.needed, alone.satisfied_by([KEYS["b"]]), alone.satisfied_by([KEYS["a"]])) == (1, False, True)
    some = QuorumPolicy.k_of(LOG.key, [KEYS["a"], KEYS["b"], KEYS["b"]], 2)
    assert some.groups == (Group("quorum", 2, ("w.example/a", "w.example/b")),)
    assert not some.satisfied_by([KEYS["b"], KEYS["b"]])
    for quorum in (0, 3):
        with pytest.raises(QuorumNotReached):
            QuorumPolicy.k_of(LOG.key, [KEYS["a"], KEYS["b"], KEYS["b"]], quorum)


def test_strangers_do_not_count_and_a_forged_line_spoils_the_note() -> None:
    policy = QuorumPolicy.k_of(LOG.key, [KEYS["a"], KEYS["b"]], 2)
    with pytest.raises(QuorumNotReached):
        policy.open(note("a", "c", "d"))
    forged = note("a", "b").replace(b"\n7\n", b"\n8\n")
    with pytest.raises(InvalidSignature):
        policy.open(forged)
    other = NoteSigner("log.example/two", b"\1" * 32)
    with pytest.raises(InvalidSignature):
        policy.open(sign_checkpoint(Checkpoint(other.key.name, 7, b"\5" * 32), other).encode())


W = f"witness a {KEYS['a']}\nwitness b {KEYS['b']}\n"


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("", 0, "no quorum line"),
        (f"{W}", 0, "no quorum line"),
        ("quorum a", 1, "not defined"),
        (f"{W}quorum c", 3, "not defined"),
        (f"{W}quorum a\nquorum b", 4, "already"),
        (f"{W}group g 0 a b\nquorum g", 3, "threshold"),
        (f"{W}group g 3 a b\nquorum g", 3, "threshold"),
        (f"{W}group g 01 a b\nquorum g", 3, "threshold"),
        (f"{W}group g some a b\nquorum g", 3, "threshold"),
        (f"{W}group g any\nquorum g", 3, "want"),
        (f"{W}group g any a g\nquorum g", 3, "not defined"),
        (f"{W}group g any a a\nquorum g", 3, "counts once"),
        (f"{W}group g any a b\ngroup h any a g\nquorum h", 4, "counts once"),
        (f"{W}group a any b\nquorum a", 3, "taken"),
        (f"{W}group none any b\nquorum none", 3, "taken"),
        (f"{W}group g any none\nquorum g", 3, "not defined"),
        (f"{W}witness c {KEYS['a']}\nquorum a", 3, "already"),
        (f"{W}witness a {KEYS['c']}\nquorum a", 3, "taken"),
        (f"log {LOG.key}\nlog {LOG.key}\nquorum none", 2, "already"),
        (f"log {LOG.key}\nlog {NoteSigner(LOG.key.name, bytes(32)).key}\nquorum none", 2, "already"),
        (f"log {LOG.key}\nlog {NoteSigner('log.example/another', bytes([1] * 32)).key}\nquorum none", 2, "already"),
        (f"log {KEYS['a']}\nquorum none", 1, "kind"),
        (f"witness a {LOG.key}\nquorum a", 1, "kind"),
        ("log nonsense\nquorum none", 1, "key"),
        (f"witness a {str(KEYS['a'])[:-4]}AAA=\nquorum a", 1, "key"),
        (f"witness a {KEYS['a']} ftp://x\nquorum a", 1, "http"),
        (f"log {LOG.key} https://x extra\nquorum none", 1, "want"),
        ("levitate now\nquorum none", 1, "want"),
        (f"witness a {KEYS['a']} https://x extra\nquorum a", 1, "want"),
        ("log\nquorum none", 1, "want"),
        ("witness a\nquorum a", 1, "want"),
        (f"{W}quorum", 3, "want"),
        ("quorum none\x7f\n", 1, "control"),
        ("quorum none\x1f\n", 1, "control"),
        ("quorum none\r\n", 1, "control"),
        ("quorum\x0bnone\n", 1, "control"),
        ("#\n" * 3 + "quorum none none", 4, "want"),
        ("x" * (MAX_POLICY_BYTES + 1), 0, "at most"),
        (f"log {LOG.key}\n" * 300, 2, "already"),
    ],
)
def test_a_wrong_line_is_named(text: str, line: int, word: str) -> None:
    with pytest.raises(MalformedPolicy, match=word) as caught:
        QuorumPolicy.parse(text.encode())
    assert caught.value.line == line


def test_the_longest_policy_and_the_most_statements_are_read_and_no_more() -> None:
    said = "\nquorum none"
    assert QuorumPolicy.parse(("#" * (64 * 1024 - len(said)) + said).encode()).quorum == "none"
    seeds = (number.to_bytes(32, "big") for number in range(1, 257))
    lines = [f"witness w{n} {NoteSigner('w', seed).cosigner_key}" for n, seed in enumerate(seeds)]
    assert len(QuorumPolicy.parse("\n".join([*lines[:255], "quorum w0"]).encode()).witnesses) == 255
    with pytest.raises(MalformedPolicy, match="statements") as caught:
        QuorumPolicy.parse("\n".join([*lines, "quorum w0"]).encode())
    assert caught.value.line == 257


@given(st.binary(max_size=300))
def test_any_bytes_are_a_policy_or_a_named_error(data: bytes) -> None:
    for whole in (data, f"{W}".encode() + data, data + b"\nquorum none\n"):
        with suppress(MalformedPolicy):
            QuorumPolicy.parse(whole)


def test_names_are_octets() -> None:
    text = b"witness \xe9 " + str(KEYS["a"]).encode() + b"\nquorum \xe9\n"
    policy = QuorumPolicy.parse(text)
    assert policy.encode() == text
    assert policy.satisfied_by([KEYS["a"]])
