"""Whoever stands between hospital and vendor: answers altered, swapped, replayed, keys and terms put in their place."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.integration.similarity.fixtures import ALL_MODES, EPOCH, House, app_of, schema_of
from twinward.client import (
    AnswerForged,
    AnswerMalformed,
    HospitalKeyChanged,
    Matches,
    Mode,
    Question,
    VendorClient,
    VendorKeys,
    VersionUnknown,
)
from twinward.client.checking import require_proof
from twinward.core.errors import BadInput
from twinward.protocol.proofs import AnswerSigner, Kind

SCHEMA = schema_of(dict.fromkeys("abc", (0, 127)))
VALUES = dict.fromkeys("abc", 60.0)
URL = "https://st-anna.example"
JSON = {"content-type": "application/json"}
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    levels = np.random.default_rng(41).integers(0, 128, (40, 3))
    made = House(tmp_path_factory.mktemp("house"), SCHEMA, levels, allowance=10_000)
    made.service._below_trilateration = lambda principal: None  # type: ignore[method-assign]
    return made


class Between:
    """A client's way to a hospital, with somebody on it who changes answers by the last word of the path."""

    def __init__(self, house: House, **changes: Change) -> None:
        self.seen: list[tuple[str, bytes]] = []
        inner = TestClient(app_of(house.answers))

        def handle(request: httpx.Request) -> httpx.Response:
            told = inner.request(request.method, request.url.path, content=request.content, headers=JSON)
            name = request.url.path.rsplit("/", 1)[-1].replace("-", "_")
            body = told.json()
            if name in changes and told.status_code == 200:
                changes[name](body)
            self.seen.append((name, json.dumps(body).encode()))
            return httpx.Response(told.status_code, json=body)

        self.http = httpx.Client(transport=httpx.MockTransport(handle))

    def vendor(self, **more: Any) -> VendorClient:
        return VendorClient(URL, "token", http=self.http, **more)


def ask(vendor: VendorClient, mode: Mode) -> Matches:
    return vendor.ask(Question(VALUES, mode, 0.4))


def flipped(member: str) -> Change:
    """One bit of a bundle, in the middle of what is encrypted."""

    def change(body: dict[str, Any]) -> None:
        raw = bytearray(base64.b64decode(body[member]))
        raw[len(raw) // 2] ^= 1
        body[member] = base64.b64encode(bytes(raw)).decode()

    return change


def put(member: str, value: Any) -> Change:
    return lambda body: body.__setitem__(member, value)


PATHS = {Mode.GATED: "gated", Mode.VENDOR_KEY: "vendor_key", Mode.MATRIX: "matrix"}


@pytest.mark.parametrize("mode", ALL_MODES)
def test_an_unaltered_answer_is_believed(house: House, mode: Mode) -> None:
    found = ask(Between(house).vendor(), mode)
    assert len(found.handles) == found.count
    assert len(found.query_id) == 32


@pytest.mark.parametrize("mode", [Mode.GATED, Mode.MATRIX])
@pytest.mark.parametrize(
    "change",
    [
        put("epoch", EPOCH + 1),
        put("count", 77),
        put("withheld", "nothing"),
        put("budget_left", 9_999),
        put("mode", "vendor-key"),
        put("later", "a member that nobody signed"),
        lambda body: body["handles"].append("ab" * 16),
        lambda body: body["handles"].pop(),
        lambda body: body["handles"].reverse(),
        lambda body: body.pop("proof"),
        lambda body: body["proof"].update(query_id="ab" * 16),
        lambda body: body["proof"].update(query="ab" * 32),
        lambda body: body["proof"].update(vendor="globex"),
        lambda body: body["proof"].update(signature="00" * 64),
    ],
    ids=lambda value: "",
)
def test_an_altered_answer_is_refused(house: House, mode: Mode, change: Change) -> None:
    with pytest.raises(AnswerMalformed):
        ask(Between(house, **{PATHS[mode]: change}).vendor(), mode)


@pytest.mark.parametrize("change", [flipped("bundle"), lambda body: body["handles"].reverse(), put("epoch", 1)])
def test_a_flipped_bit_changes_no_distance_silently(house: House, change: Change) -> None:
    with pytest.raises(AnswerForged):
        ask(Between(house, vendor_key=change).vendor(), Mode.VENDOR_KEY)


def test_a_token_of_another_query_is_refused(house: House) -> None:
    with pytest.raises(AnswerForged):
        ask(Between(house, token=flipped("token")).vendor(), Mode.MATRIX)


def test_another_gates_key_reads_no_query(house: House) -> None:
    """The attack that matters: whoever puts its own key in the place of the gate's would read every gated query."""
    stranger = VendorKeys.generate().public
    between = Between(house, query_key=put("key", base64.b64encode(stranger).decode()))
    with pytest.raises(AnswerForged):
        ask(between.vendor(), Mode.GATED)
    assert "gated" not in [name for name, _ in between.seen]


def test_everything_signed_by_another_key_is_refused_where_one_is_known(house: House, tmp_path: Path) -> None:
    mine = AnswerSigner.generate()

    def resigned(body: dict[str, Any]) -> None:
        terms = type(house.answers.terms()).model_validate(body)
        body["proof"] = mine.prove(Kind.TERMS, terms, binding=terms.binding()).model_dump(mode="json")

    honest, known = Between(house), tmp_path / "known"
    with honest.vendor(known_hospitals=known) as vendor:
        ask(vendor, Mode.GATED)
        assert vendor.key_first_seen
        right = vendor.hospital_key
    assert json.loads(known.read_text()) == {URL: right}
    for believed in ({"hospital_key": right}, {"known_hospitals": known}):
        between = Between(house, schema=resigned)
        with between.vendor(**believed) as vendor, pytest.raises(HospitalKeyChanged) as error:
            ask(vendor, Mode.GATED)
        assert (error.value.known, error.value.shown) == (right, mine.key)
        assert [name for name, _ in between.seen] == ["schema"]
    assert json.loads(known.read_text()) == {URL: right}
    with honest.vendor(hospital_key=right) as vendor:
        vendor.schema()
        assert not vendor.key_first_seen


def test_a_key_that_changes_while_a_client_lives_is_refused(house: House) -> None:
    vendor = Between(house).vendor()
    vendor.schema()
    other = House.open(house)  # the same cohort, answered under another key
    vendor._http = Between(_with(house, other)).http
    with pytest.raises(HospitalKeyChanged):
        vendor.schema()


def test_an_earlier_answer_is_no_answer_to_a_later_query(house: House) -> None:
    """Also not to the same question, asked again: each query has its own id."""
    between = Between(house)
    ask(between.vendor(), Mode.GATED)
    earlier = json.loads(dict(between.seen)["gated"])

    def replay(body: dict[str, Any]) -> None:
        body.clear()
        body.update(earlier)

    with pytest.raises(AnswerForged, match="another question"):
        ask(Between(house, gated=replay).vendor(), Mode.GATED)


@pytest.mark.parametrize("member", ["query", "binding"])
def test_what_the_hospital_signed_for_something_else_is_refused(house: House, member: str) -> None:
    """Its own signature, the vendor's own id: and yet to another question, or of another epoch."""

    def resigned(body: dict[str, Any]) -> None:
        body["proof"][member] = "ab" * 32
        _sign(house, Kind.GATED, body)

    with pytest.raises(AnswerForged, match="another"):
        ask(Between(house, gated=resigned).vendor(), Mode.GATED)


def test_another_hospitals_answer_is_refused_though_it_signed_it(house: House) -> None:
    told = house.answers.gate_key().model_dump(mode="json")
    assert require_proof(Kind.GATE_KEY, told, key=told["proof"]["key"])
    other = dict(told, proof=dict(told["proof"], binding="00" * 32))
    with pytest.raises(AnswerForged):
        require_proof(Kind.GATE_KEY, other, key=told["proof"]["key"])
    with pytest.raises(AnswerForged):  # nor is one kind of answer another one
        require_proof(Kind.TERMS, told, key=told["proof"]["key"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body.update(protocol=9, oldest_protocol=9), "update your client"),
        (lambda body: [body.pop(name) for name in ("protocol", "oldest_protocol")], "update its node"),
        (lambda body: body.update(protocol="2"), ""),
    ],
)
def test_no_common_version_says_who_is_behind(house: House, change: Change, told: str) -> None:
    with pytest.raises((VersionUnknown, AnswerMalformed)) as error:
        Between(house, schema=change).vendor().schema()
    assert told in error.value.hint


def test_what_a_later_node_adds_is_ignored_and_what_it_means_differently_is_not(house: House) -> None:
    """Members that a client does not know, also inside features and modes; signed as they are sent."""

    def resigned(body: dict[str, Any], *, fingerprint: str | None = None) -> None:
        body.update(protocol=7, news={"x": [1.5, None]})
        body["modes"].append({"mode": "telepathy", "leakage": "everything", "range": 3})
        body["feature_schema"]["features"][0]["colour"] = "red"
        body["fingerprint"] = fingerprint or body["fingerprint"]
        _sign(house, Kind.TERMS, body)

    with Between(house, schema=resigned).vendor() as vendor:
        assert [mode.mode for mode in vendor.schema().modes] == list(ALL_MODES)
        assert ask(vendor, Mode.GATED).handles
    other = Between(house, schema=lambda body: resigned(body, fingerprint="ab" * 32)).vendor()
    with pytest.raises(VersionUnknown, match="feature schema"):
        other.schema()


@pytest.mark.parametrize("key", ["", "zz", "ab" * 31, "ab" * 33])
def test_a_key_that_is_none(key: str) -> None:
    with pytest.raises(BadInput):
        VendorClient(URL, "t", hospital_key=key)


@pytest.mark.parametrize("content", ["[]", "{", '{"https://x": 1}', '{"https://x": "ab"}'])
def test_a_file_of_known_hospitals_that_is_none_is_not_passed_over(house: House, tmp_path: Path, content: str) -> None:
    known = tmp_path / "known"
    known.write_text(content)
    with pytest.raises(BadInput, match="known hospitals"):
        Between(house).vendor(known_hospitals=known).schema()
    assert known.read_text() == content


def _sign(house: House, kind: Kind, body: dict[str, Any]) -> None:
    from twinward.protocol.proofs import Proof, signed_bytes

    signer = house.answers.once._signer
    proof = Proof.model_validate(body.pop("proof"))
    signature = signer._key.sign(signed_bytes(kind, proof, body)).hex()
    body["proof"] = proof.model_copy(update={"signature": signature}).model_dump(mode="json")


def _with(house: House, service: Any) -> Any:
    """A house that is answered by another service."""
    return type("Other", (), {"answers": service})
