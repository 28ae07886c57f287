"""Quorum policies: which logs and witnesses are believed, and which of them must have cosigned (c2sp.org/tlog-policy).

A policy is a text file, one statement a line; empty lines and lines starting with ``#`` are skipped::

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> <k>|any|all <name>...
    quorum <name>|none

Names live in one namespace and must be defined above the line that uses them, so groups cannot be circular. A name is
a member of one group at most, so a witness counts in one way only. There is exactly one quorum line. Keys, not names,
decide: two lines with one public key are refused.

The log asks the witnesses that have a URL; whoever reads a checkpoint asks ``QuorumPolicy.require`` whether it counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from twinward_crypto.errors import InvalidSignature, MalformedKey
from twinward_ledger.errors import MalformedPolicy, QuorumNotReached
from twinward_ledger.formats.checkpoint import Checkpoint, open_checkpoint
from twinward_ledger.formats.cosignature import verify_cosignature
from twinward_ledger.formats.note import Algorithm, Note, VerifierKey

MAX_POLICY_BYTES = 64 * 1024
MAX_STATEMENTS = 256
"""Lines that say something; the specification asks for 32 logs, 32 witnesses and 32 groups at least."""

NONE = "none"


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness: its name in the policy, its cosigner key, and the submission prefix it answers at ("" for unknown)."""

    name: str
    key: VerifierKey
    url: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Counts as having cosigned when at least ``threshold`` of its members have. Members are witnesses or groups."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuorumPolicy:
    """A parsed policy. ``quorum`` names a witness or a group, or is ``none``. Use ``parse`` or ``k_of``.

    Attributes:
        logs: the keys of the logs that are believed, and where each is served ("" for unknown).
        witnesses: in the file's order.
        groups: in the file's order.
        quorum: what must have cosigned.
    """

    logs: tuple[tuple[VerifierKey, str], ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[Group, ...] = ()
    quorum: str = NONE

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a policy file strictly. Raises ``MalformedPolicy`` naming the first line that is wrong."""
        reader = _Reader()
        for number, line in _statements(data):
            reader.read(number, line.split(" "))
        if reader.quorum is None:
            raise MalformedPolicy("no quorum line: say `quorum <name>`, or `quorum none`", line=0)
        return cls(tuple(reader.logs), tuple(reader.witnesses), tuple(reader.groups), reader.quorum)

    @classmethod
    def k_of(cls, log: VerifierKey, witnesses: Sequence[VerifierKey], quorum: int) -> Self:
        """The policy "any ``quorum`` of these". Raises ``QuorumNotReached`` for a number they cannot reach."""
        distinct = {key.public_key: key for key in witnesses}.values()
        if not 1 <= quorum <= len(distinct):
            raise QuorumNotReached(len(distinct), max(1, quorum))
        named = tuple(PolicyWitness(key.name, key) for key in distinct)
        names = tuple(one.name for one in named)
        return cls(((log, ""),), named, (Group("quorum", quorum, names),), "quorum")

    def encode(self) -> bytes:
        """The policy as a file that ``parse`` reads back."""
        lines = [_joined("log", str(key), url) for key, url in self.logs]
        lines += [_joined("witness", one.name, str(one.key), one.url) for one in self.witnesses]
        lines += [_joined("group", one.name, str(one.threshold), *one.members) for one in self.groups]
        return "".join(f"{line}\n" for line in (*lines, f"quorum {self.quorum}")).encode("utf-8", "surrogateescape")

    @property
    def needed(self) -> int:
        """The fewest witnesses that can satisfy it."""
        return self._fewest(self.quorum)

    def satisfied_by(self, keys: Collection[VerifierKey]) -> bool:
        """Whether cosignatures under these keys are a quorum."""
        present = {key.public_key for key in keys}
        return self._holds(self.quorum, {one.name for one in self.witnesses if one.key.public_key in present})

    def cosigned(self, note: Note) -> tuple[tuple[VerifierKey, int], ...]:
        """The witnesses whose cosignatures on a note verify, and the times they state (s since the Unix epoch).

        Signatures of keys the policy does not know are ignored.

        Raises:
            InvalidSignature: a line under a known witness's name and key id does not verify.
        """
        present = {(one.name, one.key_id) for one in note.signatures}
        known = (one.key for one in self.witnesses if (one.key.name, one.key.key_id) in present)
        return tuple((key, verify_cosignature(note, key)) for key in known)

    def require(self, note: Note) -> tuple[tuple[str, int], ...]:
        """Accept a note that a quorum cosigned; return the key names and times of all known witnesses that did.

        Raises:
            InvalidSignature: a known witness's cosignature does not verify.
            QuorumNotReached: those that signed are no quorum.
        """
        found = self.cosigned(note)
        if not self.satisfied_by([key for key, _ in found]):
            raise QuorumNotReached(len(found), self.needed)
        return tuple((key.name, time_s) for key, time_s in found)

    def open(self, data: bytes) -> tuple[Checkpoint, Note]:
        """Read a checkpoint that one of the policy's logs signed and a quorum cosigned.

        Raises:
            MalformedCheckpoint: it does not parse.
            InvalidSignature: no known log signed it, or a known witness's cosignature does not verify.
            QuorumNotReached: too few witnesses.
        """
        origin = Checkpoint.parse(Note.parse(data).text).origin
        key = next((key for key, _ in self.logs if key.name == origin), None)
        if key is None:
            raise InvalidSignature(f"{origin} is not a log of this policy")
        checkpoint, note = open_checkpoint(data, key)
        self.require(note)
        return checkpoint, note

    def _holds(self, name: str, signed: Collection[str]) -> bool:
        if name == NONE:
            return True
        group = self._group(name)
        if group is None:
            return name in signed
        return sum(self._holds(member, signed) for member in group.members) >= group.threshold

    def _fewest(self, name: str) -> int:
        group = self._group(name)
        if group is None:
            return 0 if name == NONE else 1
        return sum(sorted(self._fewest(member) for member in group.members)[: group.threshold])

    def _group(self, name: str) -> Group | None:
        return next((one for one in self.groups if one.name == name), None)


@dataclass
class _Reader:
    """Statements read so far."""

    logs: list[tuple[VerifierKey, str]] = field(default_factory=list)
    witnesses: list[PolicyWitness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorum: str | None = None
    _members: set[str] = field(default_factory=set)

    def read(self, number: int, words: list[str]) -> None:
        """One statement. Raises ``MalformedPolicy``."""
        keyword, rest = words[0], words[1:]
        if keyword == "log" and 1 <= len(rest) <= 2:
            self._log(number, *rest)
        elif keyword == "witness" and 2 <= len(rest) <= 3:
            self._witness(number, *rest)
        elif keyword == "group" and len(rest) >= 3:
            self._group(number, rest[0], rest[1], tuple(rest[2:]))
        elif keyword == "quorum" and len(rest) == 1:
            self._quorum(number, rest[0])
        else:
            raise MalformedPolicy(
                "want `log <vkey> [<url>]`, `witness <name> <vkey> [<url>]`, `group <name> <k|any|all> <name>...`"
                " or `quorum <name>`",
                line=number,
            )

    def _log(self, number: int, vkey: str, url: str = "") -> None:
        key = _key(number, vkey, Algorithm.ED25519, "log")
        if any(key.public_key == other.public_key or key.name == other.name for other, _ in self.logs):
            raise MalformedPolicy("this log, or its name, is listed already", line=number)
        self.logs.append((key, _url(number, url)))

    def _witness(self, number: int, name: str, vkey: str, url: str = "") -> None:
        self._require_new(number, name)
        key = _key(number, vkey, Algorithm.COSIGNATURE_V1, "witness")
        if any(key.public_key == other.key.public_key for other in self.witnesses):
            raise MalformedPolicy("a witness with this key is listed already", line=number)
        self.witnesses.append(PolicyWitness(name, key, _url(number, url)))

    def _group(self, number: int, name: str, threshold: str, members: tuple[str, ...]) -> None:
        self._require_new(number, name)
        for member in members:
            self._require_known(number, member)
            if member in self._members:
                raise MalformedPolicy(f"{_shown(member)} is a member of a group already: each counts once", line=number)
            self._members.add(member)
        wanted = {"any": "1", "all": str(len(members))}.get(threshold, threshold)
        if not _is_count(wanted) or not 1 <= int(wanted) <= len(members):
            raise MalformedPolicy(f"a threshold is any, all, or 1 to {len(members)}", line=number)
        self.groups.append(Group(name, int(wanted), members))

    def _quorum(self, number: int, name: str) -> None:
        if self.quorum is not None:
            raise MalformedPolicy("there is a quorum line already", line=number)
        if name != NONE:
            self._require_known(number, name)
        self.quorum = name

    def _require_new(self, number: int, name: str) -> None:
        if name == NONE or self._known(name):
            raise MalformedPolicy(f"the name {_shown(name)} is taken", line=number)

    def _require_known(self, number: int, name: str) -> None:
        if not self._known(name):
            raise MalformedPolicy(f"{_shown(name)} is not defined above this line", line=number)

    def _known(self, name: str) -> bool:
        return name in {one.name for one in self.witnesses} | {one.name for one in self.groups}


def _statements(data: bytes) -> Iterable[tuple[int, str]]:
    if len(data) > MAX_POLICY_BYTES:
        raise MalformedPolicy(f"a policy is at most {MAX_POLICY_BYTES} bytes", line=0)
    # Every byte is kept as one character, so that names are compared as octets, whatever encoding they are in.
    found = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        if any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in line):
            raise MalformedPolicy("control characters other than tab and newline", line=number)
        text = line.decode("utf-8", "surrogateescape").strip(" \t")
        if text and not text.startswith("#"):
            found += 1
            if found > MAX_STATEMENTS:
                raise MalformedPolicy(f"more than {MAX_STATEMENTS} statements", line=number)
            yield number, " ".join(part for part in text.replace("\t", " ").split(" ") if part)


def _key(number: int, text: str, algorithm: Algorithm, whose: str) -> VerifierKey:
    try:
        key = VerifierKey.parse(text)
    except MalformedKey as error:
        raise MalformedPolicy(f"not a {whose}'s key: {error}", line=number) from None
    if key.algorithm is not algorithm:
        raise MalformedPolicy(f"this key is of a kind that a {whose} does not sign with", line=number)
    return key


def _url(number: int, url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise MalformedPolicy("a URL starts with http:// or https://", line=number)
    return url.rstrip("/")


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and not text.startswith("0") and len(text) <= 4


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)


def _shown(name: str) -> str:
    """A name for a message, whatever octets it is made of."""
    return name[:80].encode("ascii", "backslashreplace").decode()
