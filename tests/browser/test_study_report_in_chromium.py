"""A study's report, as a browser opens the file: axe finds nothing, it fits a phone, and nothing is fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.browser.test_every_page_in_chromium import AXE, WIDTHS
from tests.tools import require
from twinward.federation import api
from twinward.federation.evaluation.study_report import Registered, study_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["registered", "simulated"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with every part: subgroups, calibration by labels, a registration; and one of a simulation without."""
    full = request.param == "registered"
    study = api.new_study("a-study-with-a-name-as-long-as-one-may-be", epsilon=3.0, expected_patients=300)
    data = api.synthetic_data(study, 400)
    if full:
        odd = np.arange(400) % 5 == 0
        stays = data.stays.copy()
        stays[odd] = stays[odd][:, ::-1]
        groups = ["fm"[place % 2] for place in range(400)]
        data = api.data_of(stays, study.signals, label=odd.astype(int).tolist(), group=groups)
    done = api.run_simulation(study, data)
    path = tmp_path_factory.mktemp("report") / "report.html"
    hashes = (done.model.hash(), done.card.hash())
    registered = Registered(7, "2026-01-01T00:00:00Z", 3, 520_000, done.plan.epsilon, 1e-5, *hashes) if full else None
    path.write_text(study_report(done.model, json.loads(done.card.content), registered), encoding="utf-8")
    return path


def test_axe_finds_nothing_narrow_or_wide_light_or_dark_and_nothing_is_fetched(chromium: Browser, report: Path) -> None:
    axe = Path(require("axe.min.js", install="npm ci in tests/clients/javascript", beside=AXE)).read_text("utf-8")
    page = chromium.new_context().new_page()
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.goto(report.as_uri())
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            found += [f"{width} px, {theme}: {one}" for one in findings(page, axe)]
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{width} px: wider than the window")
    assert found == []
    assert asked == [report.as_uri()]
    page.context.close()


def findings(page: Page, axe: str) -> list[str]:
    """Rule, what it is about, and where."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    found: Any = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then((all) => all.violations)")
    return [f"{one['id']}: {one['help']}: {node['target']}" for one in found for node in one["nodes"]]
