"""Alert rules and the dashboard ask for what a node serves, and for nothing else: each expression is parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.cli.conftest import make_hospital
from tests.tools import ROOT
from twinward.api.http.metrics import Metrics
from twinward.cli.node.serve import add_figures
from twinward.node import open_node

FOLDER = ROOT / "deploy/observability"
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
PANELS = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]
PROMETHEUS_OWN = {"up": {"job"}}
ASKED = [
    *((one["alert"], one["expr"]) for one in RULES),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Each metric of a node's figures, with its labels."""
    metrics = Metrics()
    with open_node(make_hospital(tmp_path_factory.mktemp("observed") / "node").home) as node:
        add_figures(node, metrics)
        metrics.count("GET", "/health", 200, 3)
        text = generate_latest(metrics.registry).decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    assert re.search(r"twinward_log_quorum 2\.0", text)
    assert "NaN" not in text
    return found


def selectors(node: Any) -> Iterator[Any]:
    """The vector selectors of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
        return
    if isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
        return
    for name in ("lhs", "rhs", "expr", "param"):
        if (inner := getattr(node, name, None)) is not None:
            yield from selectors(inner)
    for inner in getattr(node, "args", ()) or ():
        yield from selectors(inner)


@pytest.mark.parametrize(("name", "expression"), ASKED)
def test_what_is_asked_for_is_served(served: dict[str, set[str]], name: str, expression: str) -> None:
    known = served | PROMETHEUS_OWN
    parsed = promql_parser.parse(expression.replace("$__rate_interval", "5m"))
    asked = list(selectors(parsed))
    assert asked, name
    for one in asked:
        assert one.name in known, f"{name}: a node serves no {one.name}"
        labels = {matcher.name for matcher in one.matchers.matchers}
        assert labels <= known[one.name], f"{name}: {one.name} has no {labels - known[one.name]}"
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        everything = set().union(*(known[one.name] for one in asked))
        assert {label.strip() for label in grouped.split(",")} <= everything, name


def test_every_own_figure_of_the_log_is_watched(served: dict[str, set[str]]) -> None:
    asked = {
        one.name for _, text in ASKED for one in selectors(promql_parser.parse(text.replace("$__rate_interval", "5m")))
    }
    figures = {
        name for name in served if name.startswith("twinward_") and not name.endswith(("_created", "_sum", "_count"))
    }
    assert figures <= asked


def test_an_alert_says_what_to_do() -> None:
    assert len({one["alert"] for one in RULES}) == len(RULES)
    for one in RULES:
        assert one["labels"]["severity"] in ("page", "ticket")
        assert re.fullmatch(r"\d+[mh]", one["for"])
        assert len(one["annotations"]["description"]) > 30
    manual = Path(ROOT / "platform/docs/operations.md").read_text("utf-8")
    assert [one["alert"] for one in RULES if one["alert"] not in manual] == []
