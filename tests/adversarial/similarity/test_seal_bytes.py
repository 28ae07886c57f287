"""SEAL's reader dies of bytes that announce compression where it expects none. It is never given any such byte.

In each test a process of its own shows that the bytes are deadly; the library refuses them in this one.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tenseal.sealapi as seal
import zstandard

from tests.unit.similarity.test_vendor_client import MODES, TERMS, hospital
from twinward.client import AnswerMalformed
from twinward.features.schema import CARDIOMETABOLIC
from twinward.protocol.messages import DistanceReply
from twinward_crypto.errors import MalformedBundle, MalformedKey
from twinward_crypto.homomorphic import _seal, parts, wire
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query
from twinward_crypto.homomorphic.parameters import FAST, Plan, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.wire import Kind

HEADERS = json.loads((Path(__file__).parents[2] / "vectors/seal/headers.json").read_text())["headers"]
BFV, CKKS = plan(2, 16, profile=FAST), plan_gated(2, 16)
QUERY = QueryKey.generate(BFV).encrypt_query([1, 2]).bundle
GATE = GateKey.generate(CKKS)
GATED = encrypt_gated_query(GATE.public_bundle(), [1, 2])
HEADER = struct.Struct("<HBBBBHQ")


def ending(work: Callable[[], object]) -> int:
    """The signal that ends a process which does this; 0 where it lives."""
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            work()
        except BaseException:  # noqa: BLE001 - alive, whatever it says
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def raw_load(made: Plan, data: bytes) -> None:
    _seal._read(seal.Ciphertext, _seal.context_of(made), data)


def object_of(bundle: wire.Bundle, made: Plan) -> bytes:
    """The first part of a bundle as SEAL itself would have written it."""
    form = parts.forms(bundle.kind, made)[0]
    thing = parts.ciphertext(made, form, bundle.parts[0])
    return _seal.save(thing)


def forged(part: bytes, header: bytes, *, compressed: bool) -> bytes:
    """The header of the array inside replaced; and, as the attack had it, all of it compressed."""
    inner = bytearray(part[HEADER.size :])
    inner[73 : 73 + HEADER.size] = header[: HEADER.size]
    body = zstandard.ZstdCompressor(level=1).compress(bytes(inner)) if compressed else bytes(inner)
    fields = list(HEADER.unpack_from(part))
    fields[4], fields[6] = (2 if compressed else 0), HEADER.size + len(body)
    return HEADER.pack(*fields) + body


CASES = [
    pytest.param(made, bundle, bytes.fromhex(one["hex"]), id=f"{name}: {one['desc']}")
    for name, made, bundle in (("bfv", BFV, QUERY), ("ckks", CKKS, GATED))
    for one in HEADERS
]


@pytest.mark.parametrize(("made", "bundle", "header"), CASES)
def test_what_kills_seal_is_refused_before(made: Plan, bundle: wire.Bundle, header: bytes) -> None:
    good, form = object_of(bundle, made), parts.forms(bundle.kind, made)[0]
    deadly = forged(good, header, compressed=True)
    assert ending(lambda: raw_load(made, good)) == 0
    assert ending(lambda: raw_load(made, deadly)) == signal.SIGABRT
    for part in (deadly, forged(good, header, compressed=False)):
        with pytest.raises(MalformedBundle):
            _seal.load(seal.Ciphertext, made, replace(form, seeded=False), part)
        frame = wire.Bundle(bundle.kind, made, wire.UNBOUND, (part, *bundle.parts[1:])).encode()
        with pytest.raises(MalformedBundle, match=r"bytes, .* expected"):
            wire.decode(frame, kind=bundle.kind, plan=made)


def test_the_frame_that_carried_it_is_of_a_version_that_is_no_longer_read() -> None:
    """Version 1 carried SEAL's own objects: each with its length before it."""
    objects = [forged(object_of(QUERY, BFV), bytes.fromhex(HEADERS[0]["hex"]), compressed=True)] * 2
    body = b"".join(struct.pack("<I", len(one)) + one for one in objects)
    head = bytearray(QUERY.encode()[:80])
    head[4] = 1
    with pytest.raises(MalformedBundle, match="update your client"):
        wire.decode(bytes(head) + body, kind=Kind.QUERY, plan=BFV)


def test_a_secret_key_that_kills_seal_is_refused_before() -> None:
    """Sealed keys are the node's own and authentic; they are read field by field all the same."""
    inner = bytearray(GATE.dangerously_export_secret()[HEADER.size :])
    inner[48 : 48 + HEADER.size] = bytes.fromhex(HEADERS[0]["hex"])
    body = zstandard.ZstdCompressor(level=1).compress(bytes(inner))
    deadly = HEADER.pack(0xA15E, HEADER.size, 4, 3, 2, 0, HEADER.size + len(body)) + body
    assert ending(lambda: _seal._read(seal.SecretKey, _seal.context_of(CKKS), deadly)) == signal.SIGABRT
    with pytest.raises(MalformedKey):
        GateKey.restore(CKKS, deadly)


def test_a_hospital_cannot_end_its_vendors_process() -> None:
    """The client reads a hospital's bytes as the node reads a vendor's; of SEAL's it reads scores alone."""
    deadly = forged(object_of(GATED, CKKS), bytes.fromhex(HEADERS[0]["hex"]), compressed=True)
    own = MODES[1].plan(CARDIOMETABOLIC)
    binding = TERMS.binding()
    (size,) = {parts.size(form) for form in parts.forms(Kind.SCORES, own, rows=1)}
    for part in (deadly, deadly[:size] + b"\xff" * (size - len(deadly)), b"\xff" * size):
        scores = wire.Bundle(Kind.SCORES, own, binding, (part,), rows=1).encode()
        reply = DistanceReply(epoch=3, bundle=scores, handles=("",), withheld="", budget_left=1)
        with pytest.raises(AnswerMalformed):
            hospital(vendor_key=reply).query_vendor_key({"age": 61})
