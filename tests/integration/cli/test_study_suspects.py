"""A study whose groups make a hospital suspect, over the command line: who is shown, who decides, what is logged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.integration.cli.conftest import PASSWORD, Hospital, run
from tests.integration.federation.poisoners import NINE, Attack, released
from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Role
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study_file import read_study
from twinward.federation.study_journal import Question
from twinward.node import open_node
from twinward.node.study_run import journal_of


@pytest.fixture(scope="module")
def house(hospital: Hospital) -> Hospital:
    with open_node(hospital.home) as node:
        node.accounts.add_person(Principal("marie", Role.RESEARCHER, "Marie Research"), PASSWORD)
    return hospital


@pytest.fixture(scope="module")
def file(house: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of nine hospitals, of which h4 adds much noise, as its journal has it after all rounds."""
    path = tmp_path_factory.mktemp("study") / "nine.toml"
    names = [word for one in NINE for word in ("--hospital", one)]
    assert run("study", "new", str(path), "--group-size", "3", "--epsilon", "10", *names).exit_code == 0
    study = read_study(path)
    stays = {name: simulate_stays(20, 70 + index) for index, name in enumerate(NINE)}
    sums = released(study, stays, {"h4": Attack("loud", noise=3)}, 3)
    with journal_of(house.home, study) as journal:
        journal.begin(1, "marie")
        for number in range(1, study.rounds + 1):
            mine = [one for one in sums if one.round_number == number]
            question = Question(number, number, b"", (), tuple(one.members for one in mine))
            journal.learn(question, np.zeros(1225, np.int64), [one.total for one in mine])
    return path


def decided(password: Path, file: Path, *more: str) -> tuple[str, ...]:
    return ("study", "quarantine", str(file), *more, "--password-file", str(password), "--yes")


def test_who_is_suspect_is_shown_and_an_officer_decides(house: Hospital, file: Path, tmp_path: Path) -> None:
    found = house.asked("study", "suspects", str(file))
    assert [one["hospital"] for one in found["hospitals"] if one["suspect"]] == ["h4"]
    assert found["hospitals"][0]["grounds"] == ["noise"]
    assert found["hospitals"][0]["noise_shares"] == pytest.approx(3, rel=0.3)
    assert "adds more noise than its share" in house.run("study", "suspects", str(file)).stdout

    password = tmp_path / "password"
    password.write_text(PASSWORD)
    password.chmod(0o600)
    as_olga = ("--as", "olga", "--reason", "3 times its share of noise")
    assert house.run(*decided(password, file, "h4", "--as", "marie", "--reason", "no")).exit_code in (5, 6)
    assert house.run(*decided(password, file, "mercy", *as_olga)).exit_code == 2
    assert house.run(*decided(password, file, "h4", "--as", "olga", "--reason", " ")).exit_code == 2
    assert not house.asked("study", "suspects", str(file))["reviews"], "nothing was decided so far"

    done = house.run(*decided(password, file, "h4", *as_olga))
    assert (done.exit_code, "h4 is left out" in done.stdout) == (0, True), done.stderr
    after = house.asked("study", "suspects", str(file))
    assert "h4" not in [one["hospital"] for one in after["hospitals"]]
    assert not [one for one in after["hospitals"] if one["suspect"]]
    assert [(one["hospital"], one["officer"], one["quarantined"]) for one in after["reviews"]] == [("h4", "olga", True)]
    listed = house.run("audit", "list", "--as", "olga", "--limit", "30").stdout
    assert "left a hospital out of the study nine" in listed

    cleared = house.asked(*decided(password, file, "h4", "--as", "olga", "--reason", "a new pump", "--clear"))
    assert (cleared["quarantined"], cleared["reason"]) == (False, "a new pump")


def test_a_study_that_is_not_under_way_is_said_so(house: Hospital, tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    assert run("study", "new", str(path), "--hospital", "a", "--hospital", "b", "--hospital", "c").exit_code == 0
    assert house.run("study", "suspects", str(path)).exit_code == 3
