#!/usr/bin/env python3
"""twinward-verify: check what a hospital says about its access log, without the hospital's software or network.

    twinward-verify FILE --trust TRUST.json [--policy POLICY] [--receipt RECEIPT.json [--consistency FILE]] [--json]

FILE is a proof of one event (.tlog-proof) or a report of all accesses to one patient (.accesses.json). TRUST.json is
what `twinward audit trust` prints: fetch it some other way than the proof, for whoever could swap both could prove
anything. POLICY (c2sp.org/tlog-policy) says which witnesses must have cosigned, instead of the trust file's quorum.
RECEIPT.json is yours: the tool writes there what it has seen, and next time refuses a log that does not continue it;
if the log grew meanwhile it asks for a --consistency file (`twinward audit consistency`).

What is checked, in this order: the log signed the checkpoint; enough witnesses cosigned it; the anchor is of this
checkpoint and signed by a quorum (BLS: needs py_ecc; said plainly where it is missing); every leaf is in the log;
for a report: the completeness map is in the log, the patient's entry is in the map, and the rows are exactly those,
none left out; every disclosed event is what its leaf commits to; the log sealed the file as it is.

Needs Python 3.11 and the package `cryptography`, nothing else. Exit codes: 0 it holds, 2 bad input, 8 it does NOT hold.
The formats are in Twinward's ledger/SPEC.md. Section numbers below are RFC 9162's.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import importlib
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_FILE_BYTES = 256 << 20
MAX_NOTE_BYTES, MAX_SIGNATURES, MAX_PATH, MAX_SIZE = 256 << 10, 100, 63, 2**63 - 1
ACCESS, COMPLETENESS = 1, 4  # kinds of leaves
EMPTY_ROOT, EMPTY_MAP = hashlib.sha256(b"").digest(), bytes(32)


class Refused(Exception):
    """It does not hold; the message says what is wrong."""


class BadInput(Exception):
    """Not a file this tool reads."""


def require(condition: object, message: str) -> None:
    """Refuse unless the condition holds."""
    if not condition:
        raise Refused(message)


def same(one: bytes, other: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one, other)


# --- reading, strictly: every value has one spelling ---------------------------------------------------------------


def unbase64(text: Any, size: int | None = None) -> bytes:
    """Standard base64 in its one canonical spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Refused("not base64") from None
    require(base64.b64encode(data).decode() == text, "not canonical base64")
    require(size is None or len(data) == size, f"a value is not {size} bytes")
    return data


def number(text: Any, bits: int = 63) -> int:
    """A decimal below 2**bits without leading zeros."""
    require(isinstance(text, str) and re.fullmatch(r"0|[1-9][0-9]{0,77}", text, re.ASCII), "not a decimal number")
    require(int(text) < 2**bits, "a number is out of range")
    return int(text)


def unhex(text: Any, size: int) -> bytes:
    """Lower-case hexadecimal."""
    require(isinstance(text, str) and re.fullmatch(r"([0-9a-f]{2})*", text, re.ASCII), "not lower-case hexadecimal")
    require(len(text) == 2 * size, f"a value is not {size} bytes")
    return bytes.fromhex(text)


def fields(value: Any, *names: str) -> list[Any]:
    """The values of an object that has exactly these members."""
    require(isinstance(value, dict) and set(value) == set(names), f"not an object of {', '.join(names)}")
    return [value[name] for name in names]


def canonical(value: Any) -> bytes:
    """RFC 8785 JSON; the formats hold no numbers but small integers, and ASCII names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def from_canonical(data: bytes) -> Any:
    """Read JSON that is spelled the canonical way."""
    try:
        value = json.loads(data)
        spelled = canonical(value)
    except (ValueError, RecursionError):
        raise Refused("not canonical JSON") from None
    require(same(spelled, data), "not canonical JSON")
    return value


# --- Merkle trees ----------------------------------------------------------------------------------------------------


def sha256(*parts: bytes) -> bytes:
    """SHA-256 over parts joined."""
    return hashlib.sha256(b"".join(parts)).digest()


def u64(value: int) -> bytes:
    """Eight bytes, big-endian."""
    return value.to_bytes(8, "big")


def leaf_hash(leaf: bytes) -> bytes:
    """2.1.1."""
    return sha256(b"\0", leaf)


def node_hash(left: bytes, right: bytes) -> bytes:
    """2.1.1."""
    return sha256(b"\1", left, right)


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over all leaf hashes, 2.1.1."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:  # an odd one out moves up: the same tree as the definition's largest power of two
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = above + level[len(level) & ~1 :]
    return level[0]


def check_inclusion(index: int, size: int, hash_: bytes, path: Sequence[bytes], root: bytes, what: str) -> None:
    """2.1.3.2."""
    require(0 <= index < size, f"{what} is not inside the tree")
    fn, sn, result = index, size - 1, hash_
    for sibling in path:
        require(sn, f"{what}: the path is too long")
        if fn & 1 or fn == sn:
            result = node_hash(sibling, result)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = node_hash(result, sibling)
        fn, sn = fn >> 1, sn >> 1
    require(sn == 0 and same(result, root), f"{what} is not in the log")


def check_consistency(old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """2.1.4.2."""
    require(0 < old <= new, "the log has shrunk")
    if old == new:
        require(not path and same(old_root, new_root), "the log shows two roots for one size")
        return
    nodes = [old_root, *path] if old & (old - 1) == 0 else list(path)
    require(nodes, "the consistency proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = nodes[0]
    for node in nodes[1:]:
        require(sn, "the consistency proof is too long")
        if fn & 1 or fn == sn:
            first, second = node_hash(node, first), node_hash(node, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, node)
        fn, sn = fn >> 1, sn >> 1
    require(sn == 0 and same(first, old_root) and same(second, new_root), "the log was rewritten since your last visit")


# --- whom to believe -------------------------------------------------------------------------------------------------


class Key:
    """A note key: ``name+hex id+base64(algorithm ‖ 32 bytes)`` (c2sp.org/signed-note)."""

    def __init__(self, text: Any, algorithm: int) -> None:
        try:
            self.name, self.id, encoded = text.split("+", 2)
            material = unbase64(encoded, 33)
        except (AttributeError, ValueError, Refused):
            raise BadInput(f"not a key: {text!r}") from None
        if material[0] != algorithm or sha256(self.name.encode(), b"\n", material)[:4].hex() != self.id:
            raise BadInput(f"not a key of this kind, or with another id: {text!r}")
        self.public = material[1:]

    def check(self, message: bytes, signature: bytes, what: str) -> None:
        """Refuse a signature that does not verify."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise Refused(f"{what} does not verify") from None


class Trust:
    """The trust file, and the quorum policy where one was given."""

    def __init__(self, data: bytes, policy: bytes | None) -> None:
        try:
            told = json.loads(data)
            self.log = Key(told["log"], 1)
            self.logs = [(Key(one["log"], 1), int(one["until"])) for one in told.get("earlier", ())]
            witnesses = {key.public: key for key in (Key(text, 4) for text in told["witnesses"])}
            quorum = int(told["quorum"])
            self.bls_keys = [bytes.fromhex(text) for text in told.get("bls_keys", ())]
            self.chain_id, self.contract = told.get("chain_id"), told.get("contract")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"not a trust file: {error!r}") from None
        if quorum < 1:
            raise BadInput("a quorum is at least 1")
        self._add_newest()
        self.witnesses, self.bls_quorum = list(witnesses.values()), quorum
        self.needs = f"{quorum} of {len(witnesses)} witnesses"
        self.satisfied: Callable[[set[bytes]], bool] = lambda signed: len(signed) >= quorum
        if policy is not None:
            self._read_policy(policy.decode("utf-8", "surrogateescape"))

    def _add_newest(self) -> None:
        """The log's keys in their order, each with the largest size it counts for, which is the next one's first."""
        sizes = [0, *(until for _, until in self.logs), MAX_SIZE]
        self.logs.append((self.log, MAX_SIZE))
        keys = [key for key, _ in self.logs]
        if any(until <= since for since, until in pairwise(sizes)) or len({key.public for key in keys}) < len(keys):
            raise BadInput("not a trust file: the log's keys cannot have followed one another")
        if {key.name for key in keys} != {self.log.name}:
            raise BadInput("not a trust file: the keys of one log have its name")

    def _read_policy(self, text: str) -> None:
        """c2sp.org/tlog-policy: names are defined above their use, so there are no circles."""
        tests: dict[str, Callable[[set[bytes]], bool]] = {}
        logs, self.witnesses, quorum = [], [], ""
        for line in text.splitlines():
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                if words[0] == "log":
                    logs.append(Key(words[1], 1).public)
                elif words[0] == "witness" and words[1] not in tests:
                    key = Key(words[2], 4)
                    self.witnesses.append(key)
                    tests[words[1]] = lambda signed, key=key: key.public in signed  # type: ignore[misc]
                elif words[0] == "group" and words[1] not in tests:
                    members = [tests[name] for name in words[3:]]
                    least = {"any": 1, "all": len(members)}.get(words[2]) or int(words[2])
                    if not 1 <= least <= len(members):
                        raise BadInput("a group that can never, or need not, be satisfied")
                    tests[words[1]] = lambda signed, members=members, least=least: (  # type: ignore[misc]
                        sum(test(signed) for test in members) >= least
                    )
                elif words[0] == "quorum" and not quorum and words[1] in tests:
                    quorum = words[1]
                else:
                    raise BadInput(f"a line of the policy that is none, or `quorum none`: {line}")
            except (IndexError, KeyError, ValueError):
                raise BadInput(f"a line of the policy that cannot be read: {line}") from None
        if not quorum or not any(key.public in logs for key, _ in self.logs):
            raise BadInput("the policy has no quorum, or does not list the trust file's log")
        self.satisfied, self.needs = tests[quorum], f"the policy's quorum {quorum}"


# --- the checkpoint and its signatures -------------------------------------------------------------------------------


class Checkpoint:
    """A checkpoint that the log signed and a quorum cosigned."""

    def __init__(self, note: bytes, trust: Trust) -> None:
        require(len(note) <= MAX_NOTE_BYTES, "the checkpoint is too long")
        require(not any(byte < 32 and byte != 10 for byte in note), "the checkpoint has control characters")
        try:
            whole = note.decode()
        except UnicodeDecodeError:
            raise Refused("the checkpoint is not UTF-8") from None
        at = whole.rfind("\n\n")
        require(at > 0 and whole.endswith("\n"), "the checkpoint is not a signed note")
        self.note, self.text = note, whole[: at + 1]
        lines = self.text.split("\n")[:-1]
        require(len(lines) >= 3 and all(lines), "the checkpoint is malformed")
        self.origin, self.size, self.root = lines[0], number(lines[1]), unbase64(lines[2], 32)
        require(self.size or same(self.root, EMPTY_ROOT), "an empty log has one root only")
        self._signatures = self._read_signatures(whole[at + 2 :].split("\n")[:-1])
        require(self.origin == trust.log.name, f"this is of the log {self.origin}, not of {trust.log.name}")
        self.log_keys = self._check_log(trust)
        self.cosigned = self._check_witnesses(trust)

    def _check_log(self, trust: Trust) -> list[Key]:
        """Every key of the log that signed is checked, and the newest of them must count for this size.

        Returns that key and those after it: they may have sealed a file with this checkpoint.
        """
        keys = [key for key, _ in trust.logs]
        signed = [at for at, key in enumerate(keys) if (key.name, key.id) in self._signatures] or [len(keys) - 1]
        for at in signed:
            keys[at].check(self.text.encode(), self._signature_of(keys[at], 64), "the log's signature")
        newest = signed[-1]
        since, until = trust.logs[newest - 1][1] if newest else 0, trust.logs[newest][1]
        require(self.size >= since, f"signed with a key that the log uses from size {since} on only")
        require(self.size <= until, f"signed with a key that the log replaced at size {until}")
        return keys[newest:]

    def _read_signatures(self, lines: Sequence[str]) -> dict[tuple[str, str], bytes]:
        require(0 < len(lines) <= MAX_SIGNATURES, "the checkpoint has no signatures, or too many")
        found: dict[tuple[str, str], bytes] = {}
        for line in lines:
            match = re.fullmatch("— ([^ +]+) ([A-Za-z0-9+/=]+)", line)
            blob = unbase64(match[2]) if match else b""
            require(match and len(blob) > 4, "a signature line is malformed")
            place = (match[1] if match else "", blob[:4].hex())
            require(place not in found, "a key has signed the checkpoint twice")
            found[place] = blob[4:]
        return found

    def _signature_of(self, key: Key, size: int) -> bytes:
        signature = self._signatures.get((key.name, key.id), b"")
        require(len(signature) == size, f"{key.name} has not signed the checkpoint")
        return signature

    def _check_witnesses(self, trust: Trust) -> list[tuple[str, int]]:
        """c2sp.org/tlog-cosignature, version 1."""
        signed: dict[bytes, tuple[str, int]] = {}
        for key in trust.witnesses:
            if (key.name, key.id) in self._signatures:
                blob = self._signature_of(key, 72)
                at = int.from_bytes(blob[:8], "big")
                message = f"cosignature/v1\ntime {at}\n{self.text}".encode()
                key.check(message, blob[8:], f"the cosignature of {key.name}")
                signed[key.public] = (key.name, at)
        require(trust.satisfied(set(signed)), f"{len(signed)} witnesses cosigned, needed: {trust.needs}")
        return list(signed.values())


def check_anchor(anchor: Any, checkpoint: Checkpoint, trust: Trust) -> str:
    """Hold an anchor against the checkpoint; say how far it was checked."""
    if anchor is None:
        return "not anchored when it was exported"
    names = ("chain", "contract", "epoch", "origin", "size", "root", "time", "bitmap", "signers", "aggregate")
    told = dict(zip((*names, "block", "transaction"), fields(anchor, *names, "block", "transaction"), strict=True))
    require(isinstance(told["signers"], list) and isinstance(told["origin"], str), "the anchor is malformed")
    signers = [unhex(key, 48) for key in told["signers"]]
    contract, root, aggregate = unhex(told["contract"], 20), unhex(told["root"], 32), unhex(told["aggregate"], 96)
    chain_id, size, origin = number(told["chain"], 256), number(told["size"]), told["origin"]
    numbers = chain_id, number(told["epoch"], 64), size, number(told["time"])
    number(told["bitmap"], 256)
    unhex(told["transaction"], 32 if told["transaction"] else 0)
    block = "unknown" if told["block"] is None else number(told["block"])
    of_this = (origin, size, root) == (checkpoint.origin, checkpoint.size, checkpoint.root)
    require(of_this, "the anchor is of another checkpoint")
    require(trust.chain_id in (None, chain_id), "the anchor is on another chain")
    require(trust.contract in (None, contract.hex()), "the anchor is on another contract")
    known = len(set(signers)) == len(signers) and set(signers) <= set(trust.bls_keys)
    require(known, "the anchor is signed by keys that are not the witnesses'")
    require(len(signers) >= trust.bls_quorum, f"{len(signers)} witnesses signed the anchor, not {trust.bls_quorum}")
    where = f"chain {chain_id}, contract 0x{contract.hex()}, block {block}"
    try:
        bls: Any = importlib.import_module("py_ecc.bls").G2ProofOfPossession
    except ImportError:
        return f"{where}; its BLS signature was NOT checked here: that needs the package py_ecc"
    domain = b"twinward/access-anchor/v1".ljust(32, b"\0")
    chain, epoch, length, time = (word.to_bytes(32, "big") for word in numbers)
    log = sha256(origin.encode())
    message = b"".join((domain, chain, contract.rjust(32, b"\0"), log, epoch, length, root, time))
    good = bls.FastAggregateVerify(signers, message, aggregate)
    require(good, "the anchor's aggregate signature does not verify")
    return f"{where}; {len(signers)} witnesses signed it"


# --- events and the map ----------------------------------------------------------------------------------------------


def leaf_kind(leaf: bytes) -> int:
    """The kind of a 38-byte leaf, version 1."""
    require(len(leaf) == 38 and leaf[0] == 1 and 1 <= leaf[1] <= 4, "a leaf is malformed")
    return leaf[1]


def leaf_minute(leaf: bytes) -> int:
    """Whole minutes since the Unix epoch."""
    return int.from_bytes(leaf[2:6], "big")


def prefixed(*parts: bytes) -> bytes:
    """Each part after its length as u32."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def check_opening(opening: Any, leaf: bytes, what: str) -> bytes | None:
    """The disclosed event, if there is one, is what the leaf commits to."""
    if opening is None:
        return None
    told_key, told_salt, told_event = fields(opening, "key", "salt", "event")
    key, salt, event = unbase64(told_key, 32), unbase64(told_salt, 32), unbase64(told_event)
    message = prefixed(b"twinward/commitment/1", b"twinward/access-event/1", salt, event)
    require(same(hmac.digest(key, message, "sha256"), leaf[6:]), f"{what}: its leaf commits to another event")
    return event


def event_subject(event: bytes, what: str) -> str | None:
    """Whom a FHIR AuditEvent is about."""
    try:
        told = json.loads(event)["entity"][0].get("what")
        return None if told is None else str(told["identifier"]["value"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise Refused(f"{what} is not an AuditEvent") from None


def check_place(place: Sequence[Any], checkpoint: Checkpoint, what: str) -> tuple[int, bytes]:
    """A leaf at its index in the checkpoint's tree."""
    told_index, told_leaf, told_path = place
    index, leaf = number(told_index), unbase64(told_leaf)
    leaf_kind(leaf)
    require(isinstance(told_path, list) and len(told_path) <= MAX_PATH, f"{what}: the path is too long")
    path = [unbase64(node, 32) for node in told_path]
    check_inclusion(index, checkpoint.size, leaf_hash(leaf), path, checkpoint.root, what)
    return index, leaf


def check_map(report: dict[str, Any], head: bytes, origin: str) -> tuple[int, bytes]:
    """The patient's count and sub-log root, proven against the map's head."""
    total, map_root, pinned = int.from_bytes(head[9:17], "big"), head[17:49], head[49:81]
    key, subject = unbase64(report["label_key"], 32), report["subject"]
    require(isinstance(subject, str) and 0 < len(subject.encode()) <= 64, "the subject is no subject")
    require(same(sha256(b"twinward/completeness-key/1", key), pinned), "another label key than the log committed to")
    label = hmac.digest(key, prefixed(b"twinward/completeness-label/1", origin.encode(), subject.encode()), "sha256")
    told_count, told_root, told_path, near = fields(report["map"], "count", "root", "path", "neighbour")
    count, root = number(told_count), unbase64(told_root, 32)
    require(isinstance(told_path, list) and len(told_path) <= 256, "the map's path is too long")
    path = [(unbase64(one, 32), number(two)) for one, two in (fields(step, "hash", "sum") for step in told_path)]
    bits = f"{int.from_bytes(label, 'big'):0256b}"
    if count:
        require(near is None, "a patient who is in the map needs no neighbour")
        node, below = sha256(b"\2", label, root, u64(count)), count
    else:
        require(same(root, EMPTY_ROOT), "no rows have one root only")
        node, below = (EMPTY_MAP, 0) if near is None else neighbour_node(near, bits, len(path))
    require(not below or not path or path[0][0] != EMPTY_MAP, "a leaf of the map stands deeper than it must")
    for depth, (sibling, beside) in zip(range(len(path) - 1, -1, -1), path, strict=True):
        require((sibling == EMPTY_MAP) == (beside == 0), "a sum in the map does not fit")
        pair = (
            (sibling, u64(beside), node, u64(below)) if bits[depth] == "1" else (node, u64(below), sibling, u64(beside))
        )
        node, below = sha256(b"\3", *pair), below + beside
        require(below < 2**63, "the map's counts overflow")
    require(below == total, f"the map's path sums up to {below} rows, its head counts {total}")
    require(same(node, map_root), "this is not the patient's entry in the completeness map")
    return count, root


def neighbour_node(near: Any, bits: str, depth: int) -> tuple[bytes, int]:
    """Another patient's leaf, standing where the absent one's would."""
    told_label, told_root, told_count = fields(near, "label", "root", "count")
    label, root, count = unbase64(told_label, 32), unbase64(told_root, 32), number(told_count)
    other = f"{int.from_bytes(label, 'big'):0256b}"
    require(count and other != bits and other[:depth] == bits[:depth], "the neighbour does not stand there")
    return sha256(b"\2", label, root, u64(count)), count


# --- the two kinds of files ------------------------------------------------------------------------------------------


class Outcome:
    """What was proven."""

    def __init__(self, kind: str, checkpoint: Checkpoint, anchor: str) -> None:
        self.kind, self.checkpoint, self.anchor = kind, checkpoint, anchor
        self.rows: list[tuple[int, int, bytes | None]] = []
        self.subject = ""
        self.through = self.minute = 0
        self.entries: list[bytes] = []


def check_seal(unsealed: bytes, seal: Any, checkpoint: Checkpoint) -> None:
    """The log signed the file as it is without its seal."""
    message, signature = b"twinward/export-seal/1\n" + unsealed, unbase64(seal, 64)
    what = "the seal: the file was changed after the hospital handed it out, or it"
    *later, last = checkpoint.log_keys
    for key in later:
        try:
            key.check(message, signature, what)
        except Refused:
            continue
        return
    last.check(message, signature, what)


def check_proof(data: bytes, trust: Trust) -> Outcome:
    """A proof of one event (c2sp.org/tlog-proof@v1 with our extra data)."""
    head, _, note = data.partition(b"\n\n")
    lines = head.decode("ascii", "replace").split("\n")
    good = len(lines) >= 3 and lines[1].startswith("extra ") and lines[2].startswith("index ")
    require(good and len(lines) <= 3 + MAX_PATH, "not a proof of an event")
    extra = from_canonical(unbase64(lines[1].removeprefix("extra ")))
    version, leaf, anchor, opening, seal = fields(extra, "version", "leaf", "anchor", "opening", "seal")
    require(version == 2 and not isinstance(version, bool), "a proof of another version")
    checkpoint = Checkpoint(note, trust)
    outcome = Outcome("proof", checkpoint, check_anchor(anchor, checkpoint, trust))
    index, raw = check_place((lines[2].removeprefix("index "), leaf, lines[3:]), checkpoint, "the event")
    outcome.rows = [(index, leaf_minute(raw), check_opening(opening, raw, "the event"))]
    unsealed = base64.b64encode(canonical(extra | {"seal": None}))
    check_seal(
        b"\n".join([lines[0].encode(), b"extra " + unsealed, *head.split(b"\n")[2:]]) + b"\n\n" + note, seal, checkpoint
    )
    return outcome


def check_report(data: bytes, trust: Trust) -> Outcome:
    """All accesses to one patient."""
    report = from_canonical(data)
    names = (
        "format",
        "origin",
        "subject",
        "label_key",
        "head",
        "head_place",
        "map",
        "rows",
        "checkpoint",
        "anchor",
        "seal",
    )
    fields(report, *names)
    require(report["format"] == "twinward/accesses/1", "a report of another version")
    require(isinstance(report["checkpoint"], str) and isinstance(report["rows"], list), "not a report")
    checkpoint = Checkpoint(report["checkpoint"].encode(), trust)
    require(report["origin"] == checkpoint.origin, "the report names another log than its checkpoint")
    outcome = Outcome("report", checkpoint, check_anchor(report["anchor"], checkpoint, trust))
    head = unbase64(report["head"], 81)
    place = fields(report["head_place"], "index", "leaf", "path")
    at, leaf = check_place(place, checkpoint, "the completeness map")
    committed = sha256(b"twinward/completeness-head/1", head)
    require(
        head[0] == 1 and leaf_kind(leaf) == COMPLETENESS and same(committed, leaf[6:]), "another map than the log's"
    )
    outcome.through, outcome.minute = int.from_bytes(head[1:9], "big"), leaf_minute(leaf)
    require(outcome.through <= at, "the completeness map covers entries that were logged after it")
    outcome.subject = report["subject"]
    count, root = check_map(report, head, checkpoint.origin)
    check_rows(report["rows"], outcome, count, root)
    check_seal(canonical(report | {"seal": None}), report["seal"], checkpoint)
    return outcome


def check_rows(told: list[Any], outcome: Outcome, count: int, root: bytes) -> None:
    """The rows are the patient's, all of them, in the order of the log."""
    rows = [fields(row, "index", "leaf", "path", "opening") for row in told]
    places = [number(row[0]) for row in rows]
    for before, after in pairwise(places):
        require(before != after, f"row {after} is there twice")
        require(before < after, f"row {after} is out of order")
    verb = "left out" if len(rows) < count else "added"
    require(len(rows) == count, f"the log counts {count} accesses, the report shows {len(rows)}: rows were {verb}")
    for *place, opening in rows:
        index, leaf = check_place(place, outcome.checkpoint, f"row {place[0]}")
        require(index < outcome.through, f"row {index} was logged after the completeness map")
        require(leaf_kind(leaf) == ACCESS, f"row {index} is no access to a patient")
        event = check_opening(opening, leaf, f"row {index}")
        if event is not None:
            require(event_subject(event, f"row {index}") == outcome.subject, f"row {index} is about somebody else")
        outcome.rows.append((index, leaf_minute(leaf), event))
        outcome.entries.append(leaf_hash(u64(index) + leaf_hash(leaf)))
    require(same(tree_root(outcome.entries), root), "the rows are not this patient's: one was exchanged for another")


# --- the auditor's own receipt ---------------------------------------------------------------------------------------


def check_receipt(receipt: dict[str, Any], outcome: Outcome, trust: Trust, consistency: bytes | None) -> None:
    """What was seen at an earlier visit is still the beginning of what is seen now."""
    now, old, root = outcome.checkpoint, int(receipt["size"]), unbase64(receipt["root"], 32)
    of_this = receipt["origin"] == now.origin and receipt["key"] in {key.public.hex() for key, _ in trust.logs}
    require(of_this, "the receipt is of another log")
    (size1, root1), (size2, root2) = sorted([(old, root), (now.size, now.root)], key=lambda one: one[0])
    path: list[bytes] = []
    if size1 != size2:
        if consistency is None:
            raise BadInput(
                f"you last saw {old} entries, this file is of {now.size}: get the proof between them with "
                f"`twinward audit consistency {size1} {size2} --out FILE` and give it as --consistency FILE"
            )
        told = from_canonical(consistency)
        kind, origin, told1, told2, nodes = fields(told, "format", "origin", "old", "new", "path")
        require(kind == "twinward/consistency/1" and origin == now.origin, "not a consistency proof of this log")
        require(
            (number(told1), number(told2)) == (size1, size2), f"the consistency proof is not from {size1} to {size2}"
        )
        require(isinstance(nodes, list) and len(nodes) <= 2 * MAX_PATH, "the consistency proof is too long")
        path = [unbase64(node, 32) for node in nodes]
    check_consistency(size1, size2, path, root1, root2)
    seen = receipt["subjects"].get(outcome.subject) if outcome.kind == "report" else None
    if seen is not None:
        count = int(seen["count"])
        require(
            len(outcome.entries) >= count, f"you saw {count} rows of this patient before, now {len(outcome.entries)}"
        )
        before = tree_root(outcome.entries[:count])
        require(same(before, unbase64(seen["root"], 32)), "rows that you saw before are gone or were changed")


def new_receipt(receipt: dict[str, Any] | None, outcome: Outcome, trust: Trust) -> dict[str, Any]:
    """What to keep: the larger checkpoint, and the newest count of each patient that was looked at."""
    now = outcome.checkpoint
    subjects = dict(receipt["subjects"]) if receipt else {}
    if outcome.kind == "report":
        root = base64.b64encode(tree_root(outcome.entries)).decode()
        subjects[outcome.subject] = {"count": len(outcome.entries), "root": root}
    if receipt and int(receipt["size"]) > now.size:
        return receipt | {"subjects": subjects}
    kept = {"origin": now.origin, "key": trust.log.public.hex(), "size": now.size}
    return kept | {"root": base64.b64encode(now.root).decode(), "checkpoint": now.note.decode(), "subjects": subjects}


def read_receipt(path: Path) -> dict[str, Any] | None:
    """The receipt of the last visit, None for the first."""
    if not path.exists():
        return None
    try:
        told = json.loads(path.read_bytes())
        if {"origin", "key", "size", "root", "checkpoint", "subjects"} != set(told) or not isinstance(
            told["subjects"], dict
        ):
            raise ValueError
        return dict(told)
    except (ValueError, TypeError, OSError):
        raise BadInput(f"{path} is not a receipt of this tool; if it was damaged, that is worth knowing") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.unfinished")
    with beside.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


# --- the command -----------------------------------------------------------------------------------------------------


def shown_minute(minute: int) -> str:
    """UTC, to the minute."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(60 * minute, UTC).strftime("%Y-%m-%d %H:%M")


def shown_row(row: tuple[int, int, bytes | None]) -> str:
    """One row as a line."""
    index, minute, event = row
    if event is None:
        return (
            f"{index:>8}  {shown_minute(minute)}  (the event is not disclosed, or was erased; that it happened stands)"
        )
    try:
        told = json.loads(event)
        agent = told["agent"][0]
        who, role = agent["who"]["identifier"]["value"], agent["role"][0]["coding"][0]["code"]
        deed, why = told["subtype"][0]["code"], told["purposeOfEvent"][0]["coding"][0]["code"]
        decision = "permit" if told["outcome"] == "0" else "deny"
        line = (
            f"{index:>8}  {told['recorded'][:19]}  {decision:6}  {who} ({role}) {deed} for {why}: {told['outcomeDesc']}"
        )
    except (ValueError, KeyError, IndexError, TypeError):
        line = f"{index:>8}  {event.decode('utf-8', 'replace')}"
    return "".join(char if char.isprintable() else "?" for char in line)


def say(outcome: Outcome, first_visit: bool | None, *, as_json: bool) -> str:
    """What was proven, for people or for programs."""
    now, erased = outcome.checkpoint, sum(event is None for _, _, event in outcome.rows)
    if as_json:
        rows = [{"index": i, "minute": minute, "event": event and event.decode()} for i, minute, event in outcome.rows]
        told = {"holds": True, "kind": outcome.kind, "origin": now.origin, "size": now.size, "cosigned": now.cosigned}
        more = {"anchor": outcome.anchor, "subject": outcome.subject, "through": outcome.through, "rows": rows}
        return json.dumps(told | more, indent=2, ensure_ascii=False)
    lines = ["HOLDS", f"log         {now.origin}, {now.size} entries"]
    lines += [f"cosigned    {name}, {shown_minute(at // 60)} UTC" for name, at in now.cosigned]
    lines.append(f"anchor      {outcome.anchor}")
    if outcome.kind == "report":
        lines.append(f"patient     {outcome.subject}")
        lines.append(
            f"complete    {len(outcome.rows)} accesses, all there are among the first {outcome.through} entries"
        )
        lines.append(f"            (as of {shown_minute(outcome.minute)} UTC); {erased} of them not disclosed")
    if first_visit is not None:
        told_visit = "first visit: nothing earlier to hold it against" if first_visit else "continues what you saw last"
        lines.append(f"receipt     {told_visit}")
    return "\n".join(lines + [shown_row(row) for row in outcome.rows])


def verify(data: bytes, trust: Trust) -> Outcome:
    """Check a file of either kind. Raises ``Refused``."""
    if data.startswith(b"c2sp.org/tlog-proof@v1\n"):
        return check_proof(data, trust)
    if data[:1] == b"{":
        return check_report(data, trust)
    raise BadInput("neither a proof of an event nor a report of a patient's accesses")


def read(path: Path) -> bytes:
    """A file of a bearable size."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"{path} is longer than {MAX_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def run(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="twinward-verify", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="a .tlog-proof or an .accesses.json")
    parser.add_argument("--trust", type=Path, required=True, help="whom to believe: `twinward audit trust` prints it")
    parser.add_argument("--policy", type=Path, help="a quorum policy (c2sp.org/tlog-policy)")
    parser.add_argument("--receipt", type=Path, help="your own file: what you saw last; made at the first visit")
    parser.add_argument("--consistency", type=Path, help="the proof from what you saw last to this file's checkpoint")
    parser.add_argument("--json", action="store_true", help="print JSON")
    told = parser.parse_args(argv)
    try:
        trust = Trust(read(told.trust), read(told.policy) if told.policy else None)
        outcome = verify(read(told.file), trust)
        first_visit = None
        if told.receipt:
            receipt = read_receipt(told.receipt)
            first_visit = receipt is None
            if receipt is not None:
                check_receipt(receipt, outcome, trust, read(told.consistency) if told.consistency else None)
            write_whole(told.receipt, json.dumps(new_receipt(receipt, outcome, trust), indent=1).encode())
        sys.stdout.write(say(outcome, first_visit, as_json=told.json) + "\n")
    except Refused as error:
        if told.json:
            sys.stdout.write(json.dumps({"holds": False, "reason": str(error)}) + "\n")
        sys.stderr.write(f"DOES NOT HOLD: {error}\n")
        return 8
    except BadInput as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(run())
