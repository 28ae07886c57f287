"""Console and command line say the same of a node, because both render one read-model."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from tests.integration.console.fixtures import House
from tests.integration.console.test_console import sign_in
from twinward.core.allowances import hospital_epsilon
from twinward.overview.external_use import query_budgets
from twinward.overview.status import agreed_status, own_status


def test_a_vendors_queries_are_the_same_on_the_page_and_on_the_command_line(
    web: TestClient, console_house: House
) -> None:
    sign_in(web)
    (vendor,) = query_budgets(console_house.node).vendors
    page = web.get("/console/outside").text
    numbers = [int(found) for found in re.findall(r'<td class="num">(\d+)</td>', page)[:3]]
    assert numbers == [vendor.granted, vendor.spent, vendor.left]
    told = agreed_status(console_house.node).shown(0)
    assert told["vendors"] == [{"id": vendor.vendor, "queries_left": vendor.left}]


def test_what_counts_may_cost_is_the_same_on_the_page_and_on_the_command_line(
    web: TestClient, console_house: House
) -> None:
    node = console_house.node
    (vendor,) = query_budgets(node).vendors
    node.consortium.grant_epsilon(node.settings.tenant, vendor.vendor, own_millis=1500, whole_millis=3000)
    epoch = node.consortium.budgets.current_epoch()
    node.consortium.budgets.spend_queries(hospital_epsilon(node.settings.tenant), epoch, 250)
    sign_in(web)
    card = web.get("/console/outside").text.partition("Counts under hidden criteria")[2].partition("</table>")[0]
    assert re.findall(r'<td class="num">([\d.]+)</td>', card) == ["3", "0.25", "2.75", "1.5", "0", "1.5"]
    assert agreed_status(node).shown(0)["counts"] == [
        {"id": "", "epsilon_granted": 3.0, "epsilon_left": 2.75},
        {"id": vendor.vendor, "epsilon_granted": 1.5, "epsilon_left": 1.5},
    ]


def test_how_far_the_log_is_signed_is_the_same_on_the_page_and_on_the_command_line(
    web: TestClient, console_house: House
) -> None:
    sign_in(web)
    page = web.get("/console").text
    log = own_status(console_house.node).shown()["log"]
    assert f"{log['cosigned']} of {log['witnesses']} witnesses co-signed" in page
    assert f"{log['anchored']} events are anchored on the chain, the newest at block {log['anchored_block']}" in page


def test_a_page_whose_navigation_fails_as_well_is_still_a_page(
    web: TestClient, console_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(web)

    def broken() -> None:
        raise RuntimeError("Mrs Miller")

    monkeypatch.setattr(console_house.node.emergencies, "counts", broken)
    answer = web.get("/console/verify")
    assert answer.status_code == 500
    assert re.search(r"reference [0-9a-f]{8}", answer.text)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Mrs Miller" not in answer.text
