"""Bundles of every kind, altered in thousands of ways, read and used as their receivers do: in processes that may die.

A batch of mutations runs in a forked process that notes which one it is at. A signal, a time-out or an exception
outside of the error tree names target and seed. Keys, and so the bytes, are new in each run.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import random
import signal
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import tenseal.sealapi as seal

from twinward_crypto import disclosure
from twinward_crypto.errors import CryptoError
from twinward_crypto.homomorphic import _seal, parts, wire
from twinward_crypto.homomorphic.database import Database
from twinward_crypto.homomorphic.gated import GateKey, encrypt_gated_query, score_gated
from twinward_crypto.homomorphic.parameters import CIRCUIT_PRIVATE, FAST, MEDIUM, Plan, plan, plan_gated
from twinward_crypto.homomorphic.query import QueryKey
from twinward_crypto.homomorphic.residues import unpack
from twinward_crypto.homomorphic.scoring import score
from twinward_crypto.homomorphic.wire import Kind
from twinward_crypto.matrix.index import build_index, key_for
from twinward_crypto.matrix.token import Token, make_token

BATCH_S = 120
_PROGRESS = struct.Struct("<qqq")
_FRAME = 80
# Lengths, counts and versions that parsers trip over.
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x51000000, 2**31 - 1, 2**31, 2**32 - 1, 2**56, 2**63, 2**64 - 1)
# Headers of SEAL's that announce what is not there: its magic, whole, shifted, of versions 3 and 4, compressed.
HEADERS = (
    bytes.fromhex("5ea11004030200000000000000000001"),
    bytes.fromhex("5ea10002000000510000000000000000"),
    bytes.fromhex("a1100402000000510000000000000001"),
    bytes.fromhex("5ea11003060100001040000000000000"),
    bytes.fromhex("5ea11004030000001000000000000000"),
    bytes.fromhex("28b52ffda0ffffff7f02001000"),
)


@dataclass(frozen=True)
class Target:
    """One kind of bytes, and who reads it. ``use`` calls ``reached`` once its reader has let the bytes pass."""

    name: str
    honest: bytes = field(repr=False)
    others: tuple[bytes, ...] = field(repr=False)
    use: Callable[[bytes, Callable[[], None]], object] = field(repr=False)
    share: float = 1.0

    def altered(self, seed: int) -> bytes:
        """The honest bytes, changed in a way that follows from the seed."""
        rng = random.Random(f"{self.name} {seed}")
        data = bytearray(self.honest)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            rng.choice(MUTATIONS)(data, self, rng)
        return bytes(data)


@dataclass(frozen=True)
class Outcome:
    """What became of a run: how many mutations, how many of them native code was given, and what went wrong."""

    ran: int = 0
    reached: int = 0
    wrong: tuple[str, ...] = ()

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.ran + other.ran, self.reached + other.reached, self.wrong + other.wrong)


def run(target: Target, seeds: range) -> Outcome:
    """Every mutation of these seeds, in forked processes; a new one goes on after each that dies."""
    total, start = Outcome(), seeds.start
    while start < seeds.stop:
        done = _forked(target, range(start, seeds.stop))
        total, start = total + done, start + done.ran
    return total


def _forked(target: Target, seeds: range) -> Outcome:
    with mmap.mmap(-1, 4096) as shared:
        child = os.fork()
        if child == 0:
            faulthandler.disable()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(BATCH_S)
            os._exit(_batch(target, seeds, shared))
        _, status = os.waitpid(child, 0)
        at, reached, length = _PROGRESS.unpack_from(shared)
        told = shared[_PROGRESS.size : _PROGRESS.size + length].decode()
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return Outcome(at + 1, reached, (f"{target.name}, seed {seeds.start + at}: {name}",))
    if os.WEXITSTATUS(status):
        return Outcome(at + 1, reached, (f"{target.name}, seed {seeds.start + at}: {told}",))
    return Outcome(len(seeds), reached)


def _batch(target: Target, seeds: range, shared: mmap.mmap) -> int:
    reached = 0

    def note() -> None:
        nonlocal reached
        reached += 1

    for at, seed in enumerate(seeds):
        _PROGRESS.pack_into(shared, 0, at, reached, 0)
        try:
            target.use(target.altered(seed), note)
        except CryptoError:
            continue
        except BaseException:  # noqa: BLE001 - this is what is looked for
            told = traceback.format_exc()[-2000:].encode()
            _PROGRESS.pack_into(shared, 0, at, reached, len(told))
            shared[_PROGRESS.size : _PROGRESS.size + len(told)] = told
            return 1
    _PROGRESS.pack_into(shared, 0, len(seeds), reached, 0)
    return 0


def _flip(data: bytearray, target: Target, rng: random.Random) -> None:
    """A bit anywhere: in a coefficient the bundle mostly stays well formed."""
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _flip_head(data: bytearray, target: Target, rng: random.Random) -> None:
    if data:
        data[rng.randrange(min(len(data), 128))] ^= 1 << rng.randrange(8)


def _number(data: bytearray, target: Target, rng: random.Random) -> None:
    """A telling number where a field of the head may be, or anywhere."""
    size = rng.choice((1, 2, 4, 8))
    if len(data) > size:
        place = rng.randrange(min(len(data) - size, rng.choice((128, len(data)))))
        data[place : place + size] = (rng.choice(NUMBERS) & (1 << 8 * size) - 1).to_bytes(size, "little")


def _cut(data: bytearray, target: Target, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _extend(data: bytearray, target: Target, rng: random.Random) -> None:
    data += rng.randbytes(rng.choice((1, 4, 16, 100, 5000)))


def _remove(data: bytearray, target: Target, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    del data[place : place + rng.choice((1, 2, 8, 64, 4096))]


def _repeat(data: bytearray, target: Target, rng: random.Random) -> None:
    place, size = rng.randrange(len(data) + 1), rng.choice((1, 8, 64, 4096))
    data[place:place] = data[place : place + size]


def _overwrite(data: bytearray, target: Target, rng: random.Random) -> None:
    """Noughts, ones or noise over a stretch: coefficients out of range, polynomials of nothing."""
    place, size = rng.randrange(len(data) + 1), rng.choice((8, 64, 4096, len(data)))
    size = min(size, len(data) - place)
    data[place : place + size] = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))


def _body_of_nothing(data: bytearray, target: Target, rng: random.Random) -> None:
    data[_FRAME:] = bytes(max(0, len(data) - _FRAME))


def _header(data: bytearray, target: Target, rng: random.Random) -> None:
    """One of SEAL's headers, over what stands there or put in between; where one is, most often over that."""
    new, found = rng.choice(HEADERS), data.find(b"\x5e\xa1", rng.randrange(len(data) + 1))
    place = found if found >= 0 and rng.random() < 0.8 else rng.randrange(len(data) + 1)
    data[place : place + rng.choice((0, len(new)))] = new


def _splice(data: bytearray, target: Target, rng: random.Random) -> None:
    """The head of these bytes and the tail of others, at one place or at two."""
    other = rng.choice(target.others)
    place = rng.choice((_FRAME, rng.randrange(len(data) + 1)))
    data[place:] = other[rng.choice((place, rng.randrange(len(other) + 1))) :]


MUTATIONS: tuple[Callable[[bytearray, Target, random.Random], None], ...] = (
    _flip,
    _flip,
    _flip_head,
    _number,
    _cut,
    _extend,
    _remove,
    _repeat,
    _overwrite,
    _body_of_nothing,
    _header,
    _header,
    _splice,
)


@cache
def targets() -> tuple[Target, ...]:
    """Every kind of bundle with every arrangement of parts, and what else is read from strangers beside them."""
    made = [*_vendor_key(), *_gated(), _matrix_token(), *_secret_keys(), *_objects(), *_disclosures()]
    everything = tuple(one.honest for one in made)
    return tuple(Target(one.name, one.honest, everything, one.use, one.share) for one in made)


def _vendor_key() -> list[Target]:
    found = []
    for name, made, share in (
        ("fast", plan(2, 16, profile=FAST), 1.0),
        ("fast, weighted and grouped", plan(3, 16, 2, weighted=True, profile=FAST, grouping=2), 1.0),
        ("medium", plan(1, 16, profile=MEDIUM), 0.5),
        ("circuit-private", plan(1, 16, profile=CIRCUIT_PRIVATE), 0.1),
    ):
        key = QueryKey.generate(made)
        database = Database.build(made, np.zeros((5, made.dimension), dtype=np.int64))
        asked = key.encrypt_query([1] * made.dimension, [1] * made.dimension if made.weighted else None)
        scores = score(asked.bundle, database).encode()

        def ask(data: bytes, reached: Callable[[], None], made: Plan = made, base: Database = database) -> object:
            query = wire.decode(data, kind=Kind.QUERY, plan=made)
            reached()
            return score(query, base)

        def read(data: bytes, reached: Callable[[], None], made: Plan = made, key=key, asked=asked) -> object:  # type: ignore[no-untyped-def]
            bundle = wire.decode(data, kind=Kind.SCORES, plan=made)
            reached()
            return key.decrypt_distances(asked, bundle)

        found.append(Target(f"query, {name}", asked.bundle.encode(), (), ask, share))
        found.append(Target(f"scores, {name}", scores, (), read, 0.5))
    return found


def _gated() -> list[Target]:
    found = []
    for name, made in (
        ("plain", plan_gated(2, 16, weighted=False)),
        ("weighted", plan_gated(1, 16, 2, weighted=True)),
    ):
        key = GateKey.generate(made)
        index = key.encrypt_index(np.zeros((3, made.dimension), dtype=np.int64))
        asked = encrypt_gated_query(key.public_bundle(), [1] * made.dimension, [1] if made.weighted else None)

        def ask(data: bytes, reached: Callable[[], None], made: Plan = made, key=key, index=index) -> object:  # type: ignore[no-untyped-def]
            query = wire.decode(data, kind=Kind.GATED_QUERY, plan=made)
            reached()
            score_gated(query, index)  # which the node does not do with a vendor's, but must stand all the same
            return key.open_query(query)

        def read(data: bytes, reached: Callable[[], None], made: Plan = made, key=key) -> object:  # type: ignore[no-untyped-def]
            bundle = wire.decode(data, kind=Kind.GATED_SCORES, plan=made)
            reached()
            return key.open_distances(bundle)

        def encrypt(data: bytes, reached: Callable[[], None], made: Plan = made) -> object:
            gate = wire.decode(data, kind=Kind.GATE_PUBLIC_KEY, plan=made)
            reached()
            return encrypt_gated_query(gate, [1] * made.dimension)

        found.append(Target(f"gated query, {name}", asked.encode(), (), ask, 0.6))
        found.append(Target(f"gated scores, {name}", score_gated(asked, index).encode(), (), read, 0.6))
        found.append(Target(f"gate public key, {name}", key.public_bundle().encode(), (), encrypt, 0.6))
    return found


def _matrix_token() -> Target:
    levels = np.random.default_rng(3).integers(0, 16, (40, 3))
    key = key_for(3, 15)
    index = build_index(key, levels, top=15)
    honest = make_token(key, (1, 2, 3), 9, top=15, binding=index.tree.binding).encode()

    def search(data: bytes, reached: Callable[[], None]) -> object:
        token = Token.decode(data, size=key.size, binding=index.tree.binding)
        reached()
        return index.tree.search(token)

    return Target("matrix token", honest, (), search)


def _secret_keys() -> list[Target]:
    def restoring(kind: type[QueryKey] | type[GateKey], made: Plan) -> Callable[[bytes, Callable[[], None]], object]:
        def restore(data: bytes, reached: Callable[[], None]) -> object:
            key = kind.restore(made, data)
            reached()
            return key

        return restore

    bfv, ckks = plan(2, 16, profile=FAST), plan_gated(2, 16)
    found = []
    for kind, made in ((QueryKey, bfv), (GateKey, ckks)):
        key = kind.generate(made)
        with _seal._scratch() as path:
            key._secret.save(str(path))
            compressed = path.read_bytes()
        found.append(Target(f"{kind.scheme} secret key", key.dangerously_export_secret(), (), restoring(kind, made)))
        found.append(Target(f"{kind.scheme} secret key, compressed", compressed, (), restoring(kind, made)))
    return found


def _objects() -> list[Target]:
    """SEAL's own objects, as they lie in block files: there nested headers are."""
    found = []
    for made in (plan(2, 16, profile=FAST), plan_gated(2, 16)):
        bfv = bool(made.plain_modulus)
        level = _seal.Level.FIRST
        if bfv:
            form = _seal.ciphertext_form(made, level, seeded=True)
            part = QueryKey.generate(made).encrypt_query([1, 2]).bundle.parts[0]
            honest = form.write(unpack(part[:-64], form.moduli, form.degree, 1), part[-64:])
        else:
            form = parts.forms(Kind.GATED_QUERY, made)[0]
            asked = encrypt_gated_query(GateKey.generate(made).public_bundle(), [1, 2])
            honest = _seal.save(parts.ciphertext(made, form, asked.parts[0]))

        def load(data: bytes, reached: Callable[[], None], made: Plan = made, form=form) -> object:  # type: ignore[no-untyped-def]
            numbers = form.read(data)
            reached()
            return _seal.build(seal.Ciphertext, made, form, *numbers)

        found.append(Target(f"{'seeded bfv' if bfv else 'ckks'} object", honest, (), load))
    return found


def _disclosures() -> list[Target]:
    """A recipient's public key, which a vendor sends, and what is sealed to it, which a hospital sends."""
    found = []
    for suite in disclosure.RecipientSuite:
        key = disclosure.generate_recipient_key(suite)
        sealed = disclosure.seal_to(key.public, b"records", info=b"i", aad=b"a")

        def to(data: bytes, reached: Callable[[], None]) -> object:
            made = disclosure.seal_to(data, b"records", info=b"i", aad=b"a")
            reached()
            return made

        def back(data: bytes, reached: Callable[[], None], private: bytes = key.private) -> object:
            reached()
            return disclosure.open_from(private, data, info=b"i", aad=b"a")

        found.append(Target(f"recipient's key, {suite.name}", key.public, (), to, 0.5))
        found.append(Target(f"sealed records, {suite.name}", sealed, (), back, 0.5))
    return found
