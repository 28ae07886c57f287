"""``twinward similarity plan`` picks, says why, and refuses by the name of what is too large."""

from __future__ import annotations

import json

from tests.integration.cli.conftest import run


def test_a_plan_is_picked_with_reasons() -> None:
    asked = ("similarity", "plan", "--records", "3000", "--features", "8", "--circuit-private")
    done = run(*asked)
    assert done.exit_code == 0
    assert "fewest bytes" in done.stdout
    assert "vendor_key_grouping = " in done.stdout
    told = json.loads(run(*asked, "--json").stdout)
    assert told["profile"] == "circuit-private"
    assert any((one["profile"], one["grouping"]) == (told["profile"], told["grouping"]) for one in told["considered"])


def test_a_schema_that_would_overflow_is_refused_by_name() -> None:
    done = run("similarity", "plan", "-n", "10", "-d", "64", "--levels", "1024", "--max-weight", "1000")
    assert done.exit_code != 0
    assert "max_weight" in done.stderr


def test_a_limit_nothing_keeps_is_refused_with_the_nearest() -> None:
    done = run("similarity", "plan", "-n", "1000", "-d", "8", "--upload", "1")
    assert done.exit_code != 0
    assert "upload" in done.stderr
    assert "nearest" in done.stderr
