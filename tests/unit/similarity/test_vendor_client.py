"""The vendor's client against hospitals that misbehave: silent, wrong, stale, malicious."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.unit.similarity.signed import signed_query_key, signed_terms
from twinward.client import AnswerMalformed, HospitalRefused, HospitalUnreachable, VendorClient, VersionUnknown
from twinward.core.errors import BadInput
from twinward.features.schema import CARDIOMETABOLIC
from twinward.protocol.messages import DistanceReply, QueryKeyReply, VendorKeyQuery
from twinward.protocol.terms import Mode, ModeTerms, Terms
from twinward_crypto.homomorphic import wire

MODES = tuple(
    ModeTerms(mode=mode, profile=profile, weighted=True, leakage="")
    for mode, profile in ((Mode.GATED, "gated"), (Mode.VENDOR_KEY, "circuit-private"))
)
TERMS = signed_terms(Terms(hospital="h", epoch=3, feature_schema=CARDIOMETABOLIC, modes=MODES, minimum_count=3))
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler) -> VendorClient:
    return VendorClient(
        "https://hospital.example/", "s3cret", http=httpx.Client(transport=httpx.MockTransport(handler))
    )


def hospital(**answers: Any) -> VendorClient:
    """Answers ``/schema`` rightly and each other path, by its last word, with what is given."""

    def handle(request: httpx.Request) -> httpx.Response:
        name = request.url.path.rsplit("/", 1)[-1].replace("-", "_")
        answer = answers.get(name, TERMS if name == "schema" else httpx.Response(404))
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, content=answer.model_dump_json())

    return client(handle)


def test_the_token_is_sent_and_never_shown() -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        assert request.url == "https://hospital.example/api/1/similarity/schema"
        return httpx.Response(200, content=TERMS.model_dump_json())

    vendor = client(handle)
    assert vendor.schema() == TERMS
    assert seen == ["Bearer s3cret"]
    assert "s3cret" not in repr(vendor)


def test_silence_is_unreachable() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("slow", request=request)

    with pytest.raises(HospitalUnreachable) as error:
        client(handle).schema()
    assert error.value.exit_code == 7


@pytest.mark.parametrize("url", ["hospital", "ftp://hospital", "http://[", "https://hos pital"])
def test_an_address_that_is_none(url: str) -> None:
    with VendorClient(url, "t") as vendor, pytest.raises((BadInput, HospitalUnreachable)):
        vendor.schema()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(403, json={"error": {"message": "no budget", "hint": "wait"}}), "no budget"),
        (httpx.Response(500, text="<html>"), "HTTP 500"),
        (httpx.Response(502, json=["x"]), "HTTP 502"),
        (httpx.Response(302, headers={"location": "https://elsewhere.example"}), "HTTP 302"),
        (httpx.Response(400, json={"error": {"message": "x" * 9000}}), "x" * 500),
    ],
)
def test_refusals_carry_the_hospitals_words_but_not_too_many(answer: httpx.Response, message: str) -> None:
    with pytest.raises(HospitalRefused) as error:
        hospital(schema=answer).schema()
    assert message in str(error.value)
    assert len(str(error.value)) <= 500
    assert error.value.status == answer.status_code


@pytest.mark.parametrize("body", ["", "{", "[]", '{"hospital": "h"}', '"x"'])
def test_answers_that_do_not_parse(body: str) -> None:
    with pytest.raises(AnswerMalformed):
        hospital(schema=httpx.Response(200, text=body)).schema()


@pytest.mark.parametrize("key", [b"", bytes(33), b"\x01" + bytes(32), b"\x02" + b"\xff" * 1216])
def test_a_query_key_that_is_none_is_not_used(key: bytes) -> None:
    reply = signed_query_key(QueryKeyReply(epoch=3, key=key), TERMS)
    with pytest.raises(AnswerMalformed):
        hospital(query_key=reply).query_gated({"age": 61})


def test_a_node_that_takes_no_sealed_queries_is_not_asked() -> None:
    with pytest.raises(VersionUnknown, match="sealed to the gate since 3"):
        hospital(schema=signed_terms(TERMS.model_copy(update={"protocol": 2}))).query_gated({"age": 61})


def test_terms_with_parameters_that_cannot_work() -> None:
    bad = signed_terms(TERMS.model_copy(update={"modes": (MODES[0].model_copy(update={"max_weight": 5000}),)}))
    with pytest.raises(AnswerMalformed, match="max_weight"):
        hospital(schema=bad).query_gated({"age": 61})


def test_scores_for_another_question_are_refused() -> None:
    """Too few handles, another epoch, or bytes that are no scores."""
    empty = wire.Bundle(wire.Kind.SCORES, MODES[1].plan(CARDIOMETABOLIC), TERMS.binding(), (), rows=1).encode()
    for reply in (
        DistanceReply(epoch=4, bundle=empty, handles=("",), withheld="", budget_left=1),
        DistanceReply(epoch=3, bundle=empty, handles=("",), withheld="", budget_left=1),
        DistanceReply(epoch=3, bundle=b"no", handles=(), withheld="", budget_left=1),
    ):
        with pytest.raises(AnswerMalformed):
            hospital(vendor_key=reply).query_vendor_key({"age": 61})


def test_what_is_sent_holds_no_clinical_value() -> None:
    sent: list[bytes] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, content=TERMS.model_dump_json())
        sent.append(request.content)
        return httpx.Response(503)

    with pytest.raises(HospitalRefused):
        client(handle).query_vendor_key({"age": 61, "hba1c_percent": 8.25}, threshold=0.07)
    query = VendorKeyQuery.model_validate_json(sent[0])
    assert set(query.model_dump(exclude_none=True)) == {"epoch", "bundle", "query_id"}
    assert b"8.25" not in sent[0]
    assert b"0.07" not in sent[0]
