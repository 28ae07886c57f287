"""Bodies formed by hand that no client sends: each is refused as the caller's fault, before anything is paid."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.adversarial.similarity.forger import Forger
from tests.integration.similarity.fixtures import EPOCH, VENDOR, House, app_of, schema_of
from twinward.protocol.messages import PREFIX
from twinward.protocol.terms import Mode

SCHEMA = schema_of({"a": (0, 127), "b": (0, 127)})
ROWS = np.random.default_rng(5).integers(0, 128, (6, 2))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("odd"), SCHEMA, ROWS, modes=(Mode.GATED, Mode.MATRIX))


@pytest.fixture(scope="module")
def forger(house: House) -> Forger:
    return Forger(TestClient(app_of(house.answers), raise_server_exceptions=False))


@pytest.fixture(scope="module")
def honest(forger: Forger) -> bytes:
    return forger.bundle(forger.honest([1, 2]), weighted=False)


def refused(house: House, forger: Forger, path: str, body: dict[str, Any]) -> None:
    left = house.budget.remaining(VENDOR.id, EPOCH)
    answer = forger.http.post(PREFIX + path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert house.budget.remaining(VENDOR.id, EPOCH) == left


@pytest.mark.parametrize("epoch", [1 << 53, 1 << 60, (1 << 63) - 1, 1 << 64])
def test_an_epoch_that_json_cannot_say_exactly_is_refused(house: House, forger: Forger, epoch: int) -> None:
    """It was an internal error: what is asked is digested as RFC 8785 JSON before the epoch is looked at."""
    text = base64.b64encode(bytes(8)).decode()
    key = {"handles": ["0" * 32], "categories": ["labs"], "recipient": text}
    refused(house, forger, "/gated", {"epoch": epoch, "threshold_squared": 1, "bundle": text})
    refused(house, forger, "/vendor-key", {"epoch": epoch, "bundle": text})
    refused(house, forger, "/matrix/token", {"epoch": epoch, "levels": [1, 2], "threshold_squared": 1})
    refused(house, forger, "/matrix", {"epoch": epoch, "token": text})
    refused(house, forger, "/matrix/search", {"epoch": epoch, "levels": [1, 2], "threshold_squared": 1})
    refused(house, forger, "/records", {"epoch": epoch} | key)


def test_base64_has_one_form(house: House, forger: Forger, honest: bytes) -> None:
    text = base64.b64encode(honest).decode()
    for odd in (text[:80] + "\n" + text[80:], "!!" + text, text + "====", " " + text, text.rstrip("=") + "*"):
        refused(house, forger, "/gated", {"epoch": EPOCH, "threshold_squared": 1, "bundle": odd})


@pytest.mark.parametrize("rows", [1, 6, (1 << 24) + 1, (1 << 32) - 1])
def test_a_query_says_no_rows(house: House, forger: Forger, honest: bytes, rows: int) -> None:
    odd = base64.b64encode(honest[:72] + struct.pack("<I", rows) + honest[76:]).decode()
    refused(house, forger, "/gated", {"epoch": EPOCH, "threshold_squared": 1, "bundle": odd})
