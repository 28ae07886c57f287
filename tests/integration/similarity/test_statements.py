"""One answer as a signed statement: what it says, offline, and that nothing else passes for it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.integration.similarity.fixtures import EPOCH, HOSPITAL, VENDOR, House, schema_of
from twinward.cli.main import app as command
from twinward.client import AnswerForged, HospitalRefused, Statement
from twinward.client.errors import AnswerMalformed
from twinward.core.errors import BadInput
from twinward.protocol.proofs import AnswerSigner, Kind


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Statement, str, str]:
    """A statement of a gated answer, its query's id, and the hospital's key."""
    levels = np.array([[50, 60], [51, 61], [52, 62], [90, 10]])
    house = House(tmp_path_factory.mktemp("house"), schema_of({"a": (0, 127), "b": (0, 127)}), levels)
    client = house.vendor()
    matches = client.query_gated({"a": 51, "b": 61}, threshold=0.1)
    assert matches.expires_at_s == (EPOCH + 1) * 86_400
    assert client.results(matches.query_id)[0].expires_at_s == matches.expires_at_s
    statement = client.statement(matches.query_id)
    with pytest.raises(HospitalRefused, match="no answer"):
        client.statement("0" * 32)
    with pytest.raises(BadInput, match="32 hexadecimal"):
        client.statement("latest")
    return statement, matches.query_id, client.hospital_key


def test_it_says_who_answered_whom_what(taken: tuple[Statement, str, str]) -> None:
    statement, query_id, key = taken
    again = Statement.decode(statement.encode())
    assert again == statement
    checked = again.check(key)
    assert (checked.hospital, checked.vendor, checked.epoch) == (HOSPITAL, VENDOR.id, EPOCH)
    assert (checked.kind, checked.query_id, checked.key) == (Kind.GATED, query_id, key)
    assert checked.said == "3 handles were told"
    assert len(checked.query) == 64
    assert again.check() == checked


def test_another_key_is_refused(taken: tuple[Statement, str, str]) -> None:
    with pytest.raises(AnswerForged):
        taken[0].check(AnswerSigner.generate().key)


def _count(told: dict[str, Any]) -> None:
    told["answer"]["matches"]["count"] = 4


def _handle(told: dict[str, Any]) -> None:
    told["answer"]["matches"]["handles"].pop()


def _vendor(told: dict[str, Any]) -> None:
    told["answer"]["matches"]["proof"]["vendor"] = "rival"


def _question(told: dict[str, Any]) -> None:
    told["answer"]["matches"]["proof"]["query"] = "0" * 64


def _hospital(told: dict[str, Any]) -> None:
    told["terms"]["hospital"] = "Mercy Hospital"


def _epoch(told: dict[str, Any]) -> None:
    told["terms"]["epoch"] += 1


def _schema(told: dict[str, Any]) -> None:
    told["terms"]["feature_schema"]["features"][0]["high"] = 99


def _unsigned(told: dict[str, Any]) -> None:
    told["answer"]["matches"]["proof"] = None


def _mode(told: dict[str, Any]) -> None:
    told["answer"]["matches"]["mode"] = "matrix"


def _two(told: dict[str, Any]) -> None:
    told["answer"]["count"] = {}


def _none(told: dict[str, Any]) -> None:
    told["answer"] = {}


CHANGES = [_count, _handle, _vendor, _question, _hospital, _epoch, _schema, _unsigned, _mode, _two, _none]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_altered_does_not_hold(
    taken: tuple[Statement, str, str], change: Callable[[dict[str, Any]], None]
) -> None:
    told = copy.deepcopy({"terms": taken[0].terms, "answer": taken[0].answer})
    change(told)
    with pytest.raises(AnswerMalformed):  # AnswerForged is one
        Statement(told["terms"], told["answer"]).check(taken[2])


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": "twinward-statement-1"}', b"\xff", b"[" * 9999])
def test_what_is_no_statement_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(BadInput, match="no statement"):
        Statement.decode(content)


def test_the_command_checks_without_a_network(taken: tuple[Statement, str, str], tmp_path: Path) -> None:
    file, key = tmp_path / "st-anna.statement", taken[2]
    file.write_bytes(taken[0].encode())
    done = CliRunner().invoke(command, ["vendor", "check-statement", str(file), "--hospital-key", key, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["query_id"] == taken[1]
    assert "its own word" in CliRunner().invoke(command, ["vendor", "check-statement", str(file)]).stdout
    file.write_bytes(taken[0].encode().replace(b'"acme"', b'"rival"'))
    done = CliRunner().invoke(command, ["vendor", "check-statement", str(file), "--hospital-key", key])
    assert done.exit_code == 7
    assert "altered" in done.output
