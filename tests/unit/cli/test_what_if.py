"""``twinward what-if`` without a node: a table, a picture, the same again, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from tests.command_line import PROGRAM


def test_an_example_is_asked_shown_and_drawn(tmp_path: Path) -> None:
    drawn = tmp_path / "icu.svg"
    words = ["what-if", "--example", "icu", "--beds", "9", "--arrivals", "2.5/day", "--days", "60", "--runs", "20"]
    done = CliRunner(env={"COLUMNS": "120"}).invoke(PROGRAM, [*words, "--out", str(drawn)])
    assert done.exit_code == 0, done.output
    assert "Erlang B" in done.stdout
    assert "stay: of 9 in use" in done.stdout
    assert drawn.read_text().startswith("<svg")
    answers = [CliRunner().invoke(PROGRAM, [*words, "--json"]).stdout for _ in range(2)]
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["refused"]["low"] < json.loads(answers[0])["refused"]["high"]
    for wrong in (
        ["what-if"],
        ["what-if", "icu", "--example", "icu"],
        ["what-if", "icu"],
        ["what-if", "--example", "hotel"],
        ["what-if", "--example", "icu", "--arrivals", "many"],
        ["what-if", "--example", "icu", "--waiting", "some"],
        ["what-if", "--example", "icu", "--runs", "99999999"],
    ):
        said = CliRunner().invoke(PROGRAM, wrong)
        assert said.exit_code == 2, said.output
        assert "Traceback" not in said.output
