"""The log's files over HTTP."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import House
from twinward.audit.exports import ExportFormat


@pytest.mark.parametrize("form", ExportFormat)
def test_the_accesses_of_nobody_are_not_found(web: TestClient, api_house: House, form: ExportFormat) -> None:
    headers = {"authorization": f"Bearer {api_house.tokens['officer']}"}
    for wrong in ("01941f29-7c00-7000-8000-00000000dead", "no-twin"):
        answer = web.get(f"/api/1/audit/twins/{wrong}/accesses", params={"format": form.value}, headers=headers)
        assert answer.status_code == 404, answer.text
        assert answer.json()["error"]["message"] == "there is no patient of this id, and nothing in the log about one"
