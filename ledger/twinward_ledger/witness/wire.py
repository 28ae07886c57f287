"""The bytes between a log and a witness (c2sp.org/tlog-witness), pure: no network.

``POST <prefix>/add-checkpoint``, body::

    old <decimal size>
    <base64 hash>            (0 to 63 consistency proof lines)
    <empty line>
    <the signed checkpoint>

Answers: 200 with signature lines, 400, 403, 404, 409 (with ``text/x.tlog.size`` and the witness's own size), 422, 429,
503. What Twinward adds is ignored by whoever does not know it:

* the request header ``Twinward-Anchor: <chain id> <contract, 40 hex digits> <epoch> <time>`` asks for a BLS signature
  over the anchor statement too. The proposer sets the time, because all witnesses must sign one message; the witness
  checks it against its own clock. A witness that does not know the header answers with its Ed25519 line alone;
* the BLS signature comes as a further signature line under the witness's name, of the type that c2sp.org/signed-note
  leaves to algorithms of one's own (0xff), see ``cosignature.anchor_key_id``;
* a 409 for another root of the size that both sides start from carries the split view's evidence
  (``text/x.twinward.split-view``, see ``evidence``).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from twinward_ledger.errors import MalformedCheckpoint, MalformedProposal, WitnessLied
from twinward_ledger.formats.cosignature import ADDRESS_BYTES, ANCHOR_LINE_BYTES, TIMESTAMP_BYTES, AnchorDomain
from twinward_ledger.formats.note import Signature, VerifierKey, decode_base64
from twinward_ledger.merkle import HASH_BYTES, MAX_SIZE
from twinward_ledger.witness.interfaces import Cosignature, Proposal

ADD_CHECKPOINT = "/add-checkpoint"
ANCHOR_HEADER = "twinward-anchor"
SIZE_TYPE = "text/x.tlog.size"

MAX_PROOF_LINES = 63
MAX_REQUEST_BYTES = 128 * 1024
"""Room for 63 proof lines and a checkpoint with a few dozen cosignatures, post-quantum ones included."""

MAX_ANSWER_BYTES = 64 * 1024
MAX_ANSWER_LINES = 32

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_ANCHOR = re.compile(
    r"([1-9][0-9]{0,77}) ([0-9a-f]{40}) (0|[1-9][0-9]{0,18}) (0|[1-9][0-9]{0,18})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class AnchorHeader:
    """What a request asks to have signed with BLS: where the anchor goes, and the proposer's time in seconds."""

    domain: AnchorDomain
    time_s: int

    def encode(self) -> str:
        """The header's value."""
        return f"{self.domain.chain_id} {self.domain.contract.hex()} {self.domain.epoch} {self.time_s}"

    @classmethod
    def parse(cls, text: str) -> AnchorHeader:
        """Read a header's value strictly. Raises ``MalformedProposal``."""
        found = _ANCHOR.fullmatch(text)
        if not found or int(found[1]) >= 2**256:
            raise MalformedProposal(f"{ANCHOR_HEADER} is `<chain id> <contract> <epoch> <time>`")
        contract = bytes.fromhex(found[2])
        assert len(contract) == ADDRESS_BYTES  # noqa: S101 - the pattern says so
        return cls(AnchorDomain(int(found[1]), contract, int(found[3])), int(found[4]))


def encode_request(proposal: Proposal) -> bytes:
    """A proposal as a request's body."""
    lines = [f"old {proposal.old_size}", *(base64.b64encode(one).decode() for one in proposal.consistency), ""]
    return "".join(line + "\n" for line in lines).encode() + proposal.note


def parse_request(body: bytes, anchor: str | None = None) -> Proposal:
    """Read a request. Raises ``MalformedProposal``; the note is not looked into.

    Args:
        body: at most ``MAX_REQUEST_BYTES``.
        anchor: the value of ``ANCHOR_HEADER``, if the request has it.
    """
    if len(body) > MAX_REQUEST_BYTES:
        raise MalformedProposal(f"a request is at most {MAX_REQUEST_BYTES} bytes")
    head, separator, note = body.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
        old = _OLD.fullmatch(lines[0])
        if not separator or not old or int(old[1]) > MAX_SIZE or len(lines) > 1 + MAX_PROOF_LINES:
            raise MalformedProposal("want `old <size>`, at most 63 proof lines, an empty line, a checkpoint")
        proof = tuple(decode_base64(line) for line in lines[1:])
    except (UnicodeDecodeError, MalformedCheckpoint):
        raise MalformedProposal("a proof line is one hash in base64") from None
    if any(len(one) != HASH_BYTES for one in proof):
        raise MalformedProposal(f"a proof line is a hash of {HASH_BYTES} bytes")
    asked = AnchorHeader.parse(anchor) if anchor is not None else None
    return Proposal(note, int(old[1]), proof, asked.time_s if asked else 0, asked.domain if asked else None)


def encode_answer(cosignature: Cosignature, time_s: int) -> bytes:
    """A witness's answer: its Ed25519 line and, for an anchor, its BLS line. ``time_s`` is the anchor's."""
    text = str(cosignature.line)
    if cosignature.bls_signature:
        blob = time_s.to_bytes(TIMESTAMP_BYTES, "big") + cosignature.bls_signature
        text += str(Signature(cosignature.line.name, cosignature.bls_key_id, blob))
    return text.encode()


def parse_answer(body: bytes, key: VerifierKey, time_s: int) -> Cosignature:
    """Read a witness's answer; lines of other keys and kinds are ignored, as the specification demands.

    Nothing is verified. Raises ``WitnessLied`` for an answer that is none, or without this key's line.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise WitnessLied("answered with too much")
    try:
        lines = body.decode("utf-8").split("\n")
        if lines.pop() or not 1 <= len(lines) <= MAX_ANSWER_LINES:
            raise WitnessLied("answered with something that is no list of signature lines")
        signatures = [Signature.parse(line + "\n") for line in lines]
    except (UnicodeDecodeError, MalformedCheckpoint):
        raise WitnessLied("answered with something that is no list of signature lines") from None
    own = [one for one in signatures if one.name == key.name]
    line = next((one for one in own if one.key_id == key.key_id), None)
    if line is None:
        raise WitnessLied("answered without a line under its own key")
    header = time_s.to_bytes(TIMESTAMP_BYTES, "big")
    anchor = next((one for one in own if len(one.blob) == ANCHOR_LINE_BYTES and one.blob.startswith(header)), None)
    if anchor is None:
        return Cosignature(line)
    return Cosignature(line, anchor.blob[TIMESTAMP_BYTES:], anchor.key_id)


def encode_size(size: int) -> bytes:
    """The body of a 409: where the witness is."""
    return f"{size}\n".encode()


def parse_size(body: bytes) -> int:
    """Read the body of a 409. Raises ``WitnessLied``."""
    found = _SIZE.fullmatch(body)
    if not found or int(found[1]) > MAX_SIZE:
        raise WitnessLied("answered that it is elsewhere, but not where")
    return int(found[1])
