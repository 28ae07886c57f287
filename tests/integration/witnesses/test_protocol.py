"""c2sp.org/tlog-witness, by a client written here from the specification, with bytes built by hand."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tests.command_line import PROGRAM
from tests.witness_processes import WitnessProcess, start_witness
from twinward_crypto import bls
from twinward_ledger.formats.note import VerifierKey
from twinward_ledger.stores.witness_state import WitnessState
from twinward_ledger.testing.consortium import StillClock, seeded
from twinward_ledger.witness.service import Limits, WitnessService
from twinward_ledger.witness.wire import MAX_REQUEST_BYTES
from twinward_ledger.witness.witness import Witness

ORIGIN = "log.example/of-somebody-else"
LOG = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
CHAIN, CONTRACT = 31337, bytes(range(20))


def h(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


LEAVES = [h(b"\0" + b"entry %d" % number) for number in range(8)]
PAIRS = [h(b"\1" + LEAVES[at] + LEAVES[at + 1]) for at in range(0, 8, 2)]
HALVES = [h(b"\1" + PAIRS[0] + PAIRS[1]), h(b"\1" + PAIRS[2] + PAIRS[3])]
ROOTS = {2: PAIRS[0], 4: HALVES[0], 8: h(b"\1" + HALVES[0] + HALVES[1])}
PROOF_2_8 = [PAIRS[1], HALVES[1]]
PROOF_4_8 = [HALVES[1]]


def log_key_id() -> bytes:
    return h(ORIGIN.encode() + b"\n\1" + LOG.public_key().public_bytes_raw())[:4]


def text(size: int, root: bytes | None = None) -> str:
    return f"{ORIGIN}\n{size}\n{b64(root or ROOTS[size])}\n"


def note(body: str, signer: Ed25519PrivateKey = LOG) -> str:
    return f"{body}\n— {ORIGIN} {b64(log_key_id() + signer.sign(body.encode()))}\n"


def request(old: int, proof: list[bytes], checkpoint: str) -> bytes:
    return "".join(f"{line}\n" for line in (f"old {old}", *map(b64, proof), "")).encode() + checkpoint.encode()


def started_in(folder: Path) -> Iterator[WitnessProcess]:
    material = b"\1" + LOG.public_key().public_bytes_raw()
    vkey = f"{ORIGIN}+{log_key_id().hex()}+{b64(material)}"
    started = start_witness(folder / "w", "mercy", VerifierKey.parse(vkey), anchors=((CHAIN, CONTRACT),))
    yield started
    started.end()


def client_of(witness: WitnessProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=witness.url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    yield from started_in(tmp_path)


@pytest.fixture
def http(witness: WitnessProcess) -> Iterator[httpx.Client]:
    yield from client_of(witness)


@pytest.fixture(scope="module")
def one_witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WitnessProcess]:
    """For what it only refuses: it remembers nothing of it."""
    yield from started_in(tmp_path_factory.mktemp("one"))


@pytest.fixture
def refusing(one_witness: WitnessProcess) -> Iterator[httpx.Client]:
    yield from client_of(one_witness)


def post(http: httpx.Client, body: bytes, **headers: str) -> httpx.Response:
    return http.post("/add-checkpoint", content=body, headers=headers)


def check_line(line: str, witness: WitnessProcess, body: str) -> None:
    """One cosignature/v1 line, checked with an Ed25519 library and nothing else."""
    dash, name, encoded = line.split(" ")
    blob = base64.b64decode(encoded, validate=True)
    vkey_name, vkey_id, material = str(witness.key).split("+", 2)
    assert (dash, name, blob[:4].hex(), len(blob)) == ("—", vkey_name, vkey_id, 4 + 8 + 64)
    seconds = int.from_bytes(blob[4:12], "big")
    assert abs(seconds - time.time()) < 60
    key = base64.b64decode(material)
    assert key[0] == 4
    signed = f"cosignature/v1\ntime {seconds}\n{body}".encode()
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(blob[12:], signed)


def test_a_plain_client_gets_one_ed25519_line_each_time(http: httpx.Client, witness: WitnessProcess) -> None:
    for old, proof, size in ((0, [], 2), (2, PROOF_2_8, 8), (8, [], 8)):
        answer = post(http, request(old, proof, note(text(size))))
        assert answer.status_code == 200, answer.text
        (line, rest) = answer.text.split("\n")
        assert rest == ""
        check_line(line, witness, text(size))


def test_a_client_that_asks_for_an_anchor_gets_a_second_line(http: httpx.Client, witness: WitnessProcess) -> None:
    now = int(time.time())
    body = request(0, [], note(text(4)))
    answer = post(http, body, **{"Twinward-Anchor": f"{CHAIN} {CONTRACT.hex()} 3 {now}"})
    first, second, rest = answer.text.split("\n")
    assert rest == ""
    check_line(first, witness, text(4))
    blob = base64.b64decode(second.split(" ")[2])
    assert (second.split(" ")[1], len(blob)) == (witness.key.name, 4 + 8 + 96)
    assert int.from_bytes(blob[4:12], "big") == now
    words = [CHAIN, int.from_bytes(CONTRACT, "big"), int.from_bytes(h(ORIGIN.encode()), "big"), 3, 4]
    words += [int.from_bytes(ROOTS[4], "big"), now]
    message = b"twinward/access-anchor/v1".ljust(32, b"\0") + b"".join(word.to_bytes(32, "big") for word in words)
    card = json.loads(CliRunner().invoke(PROGRAM, ["witness", "card", "--home", str(witness.home)]).output)
    public_key = bytes.fromhex(card["bls_public_key"])
    bls.verify(public_key, message, blob[12:])
    assert blob[:4] == h(witness.key.name.encode() + b"\n\xfftwinward/bls-anchor/v1" + public_key)[:4]


@pytest.mark.parametrize(
    "anchor",
    [
        f"31337 {'00' * 20} 3 NOW",
        *(
            pytest.param(anchor, marks=pytest.mark.slow)
            for anchor in (
                "31337",
                f"1 {CONTRACT.hex()} 3 NOW",
                f"31337 {CONTRACT.hex()} 3 1",
                f"31337 {CONTRACT.hex()} 3 99999999999999999999",
                f"{'9' * 100} {CONTRACT.hex()} 3 NOW",
                "",
            )
        ),
    ],
)
def test_an_anchor_elsewhere_or_at_another_time_is_refused_and_nothing_is_signed(
    http: httpx.Client, anchor: str
) -> None:
    body = request(0, [], note(text(4)))
    answer = post(http, body, **{"Twinward-Anchor": anchor.replace("NOW", str(int(time.time())))})
    assert answer.status_code == 400
    assert post(http, body).status_code == 200  # from 0 still: nothing was remembered


def test_each_refusal_has_its_status(http: httpx.Client) -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32)
    unknown = note(text(2)).replace(ORIGIN, "log.example/unknown")
    good = note(text(8))
    assert post(http, request(0, [], unknown)).status_code == 404
    assert post(http, request(0, [], note(text(2), other))).status_code == 403
    assert post(http, request(0, [], good.replace(f"— {ORIGIN}", "— log.example/else"))).status_code == 403
    assert post(http, request(4, [], note(text(2)))).status_code == 400  # old beyond the checkpoint
    assert post(http, request(0, [HALVES[0]], good)).status_code == 422  # a proof from nothing
    stale = post(http, request(4, PROOF_4_8, good))
    assert (stale.status_code, stale.headers["content-type"], stale.text) == (409, "text/x.tlog.size", "0\n")
    assert post(http, request(0, [], note(text(4)))).status_code == 200
    stale = post(http, request(0, [], good))
    assert (stale.status_code, stale.headers["content-type"], stale.text) == (409, "text/x.tlog.size", "4\n")
    stale = post(http, request(2, [], note(text(2))))
    assert (stale.status_code, stale.headers["content-type"], stale.text) == (409, "text/x.tlog.size", "4\n")
    for proof in ([], [PAIRS[0]], [*PROOF_4_8, PAIRS[0]], PROOF_2_8):
        assert post(http, request(4, proof, good)).status_code == 422
    assert post(http, request(4, PROOF_4_8, note(text(8, b"\1" * 32)))).status_code == 422
    assert post(http, request(4, [], note(text(4, b"\1" * 32)))).status_code == 409
    assert post(http, request(4, PROOF_4_8, good)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0",
        b"old 0\n\n",
        b"old 00\n\n" + note(text(2)).encode(),
        b"old -1\n\n" + note(text(2)).encode(),
        b"old 99999999999999999999\n\n" + note(text(2)).encode(),
        b"size 0\n\n" + note(text(2)).encode(),
        b"old 0\n" + note(text(2)).encode(),
        request(0, [b"short"], note(text(2))),
        b"old 0\nnot base64!\n\n" + note(text(2)).encode(),
        request(0, [PAIRS[0]] * 64, note(text(2))),
        request(0, [], text(2)),
        b"\xff" * 500,
    ],
)
def test_nonsense_is_a_bad_request(refusing: httpx.Client, body: bytes) -> None:
    assert post(refusing, body).status_code == 400


def test_what_is_too_long_or_too_much_is_refused(http: httpx.Client) -> None:
    assert post(http, b"x" * (MAX_REQUEST_BYTES + 1)).status_code == 413
    chunks = (b"x" * 1024 for _ in range(MAX_REQUEST_BYTES // 1024 + 2))
    assert http.post("/add-checkpoint", content=chunks).status_code == 413
    twice = [("Twinward-Anchor", "1"), ("Twinward-Anchor", "2")]
    assert http.post("/add-checkpoint", content=b"", headers=twice).status_code == 400
    assert http.get("/add-checkpoint").status_code == 405
    assert http.get("/nowhere").status_code == 404


def test_monitors_may_see_what_was_cosigned(http: httpx.Client) -> None:
    path = f"/logs/{h(ORIGIN.encode()).hex()}/checkpoint"
    assert http.get(path).status_code == 404
    post(http, request(0, [], note(text(4))))
    assert http.get(path).text == note(text(4))
    assert http.get(f"/logs/{'0' * 64}/checkpoint").status_code == 404


def test_a_client_has_a_rate(tmp_path: Path) -> None:
    state = WitnessState(tmp_path / "w.db")
    service = WitnessService(
        Witness(seeded("w.example"), [], state, StillClock()), limits=Limits(rate_per_s=0.001, burst=3)
    )

    async def ask(client: str) -> int:
        status = 0

        async def send(message: dict[str, object]) -> None:
            nonlocal status
            status = int(str(message.get("status", status)))

        scope = {"type": "http", "method": "GET", "path": "/health", "headers": [], "client": (client, 1)}
        await service(scope, None, send)  # type: ignore[arg-type]
        return status

    async def many() -> list[int]:
        return [await ask(client) for client in ["10.0.0.1"] * 5 + ["10.0.0.2"]]

    assert asyncio.run(many()) == [200, 200, 200, 429, 429, 200]
    state.close()
