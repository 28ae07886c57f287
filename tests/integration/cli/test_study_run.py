"""A researcher's study from the command line: a protocol, its run over three hospitals' vaults, its report."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, fill_vaults, run
from twinward.access.interfaces import Principal
from twinward.core.vocabulary import Role
from twinward.demo.display import Silent
from twinward.demo.training import fill_vault
from twinward.features.monitored_stays import decode_stay
from twinward.features.signal_schema import ICU
from twinward.federation.coordinator import Progress
from twinward.federation.errors import NotApproved, RoundAborted
from twinward.federation.evaluation.benchmark import synthetic_benchmark
from twinward.federation.models import COHORT
from twinward.federation.stays.simulated import simulate_stays
from twinward.federation.study import StudyProtocol
from twinward.federation.study_file import protocol_toml
from twinward.federation.study_journal import StudyJournal
from twinward.node import open_node
from twinward.node.study_approvals import AT_THIS_MACHINE, approve_embedded, withdraw
from twinward.node.study_log_room import STEP
from twinward.node.study_run import JOURNAL_FILE, model_path, paid_for, run_study, sites_of
from twinward.node.study_source import VaultStays
from twinward.twins.read import cohorts

HOSPITALS = ("st-anna", "northgate", "lakeside")
CAP = 300_000


@pytest.fixture(scope="module")
def consortium(hospital: Hospital) -> Hospital:
    """A researcher's account, and a budget of each hospital that pays for a few studies at ε = 1."""
    with open_node(hospital.home) as node:
        node.accounts.add_system(Principal("marie", Role.RESEARCHER, "Marie Research"))
        for name in HOSPITALS:
            node.consortium.cap_privacy(name, COHORT, CAP)
    return hospital


@pytest.fixture(scope="module")
def filled(consortium: Hospital) -> Hospital:
    """With the stays of 40 patients at each hospital."""
    fill_vaults(consortium.home, 40)
    return consortium


def protocol(folder: Path, name: str, *options: str) -> Path:
    path = folder / f"{name}.toml"
    hospitals = [word for one in HOSPITALS for word in ("--hospital", one)]
    assert run("study", "new", str(path), *hospitals, *options).exit_code == 0
    return path


def spent(hospital: Hospital) -> list[tuple[int, int]]:
    """What is spent and reserved of each hospital's budget."""
    with open_node(hospital.home) as node:
        accounts = [node.consortium.budgets.privacy(name, COHORT) for name in HOSPITALS]
    return [(one.spent_micros, one.reserved_micros) for one in accounts]


def test_a_new_protocol_is_of_the_homes_hospitals(hospital: Hospital, tmp_path: Path) -> None:
    path = tmp_path / "sepsis-1.toml"
    shown = hospital.asked("study", "new", str(path), "--detector", "lstm-autoencoder", "--epsilon", "2")
    assert (shown["study"], shown["hospitals"]) == ("sepsis-1", list(HOSPITALS))
    written = StudyProtocol.parse(tomllib.loads(path.read_text()))
    assert written == StudyProtocol.for_autoencoder("sepsis-1", HOSPITALS, epsilon=2.0)
    assert hospital.run("study", "new", str(path)).exit_code == 4
    assert path.read_text().count("sepsis-1") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("new.json",), 2, "toml"),
        (("New Study.toml",), 2, "study_id"),
        (("new.toml", "--detector", "oracle"), 2, "lstm-autoencoder"),
        (("new.toml", "--epsilon", "0"), 2, "epsilon"),
        (("new.toml", "--hospital", "east", "--hospital", "west"), 2, "hospitals"),
        (("new.toml", "--home", "nowhere"), 3, "--hospital"),
    ],
)
def test_no_protocol_is_written_that_could_not_run(
    arguments: tuple[str, ...], code: int, says: str, tmp_path: Path
) -> None:
    name, *options = arguments
    if "--home" not in options:
        options = [
            *(() if "--hospital" in options else [w for one in HOSPITALS for w in ("--hospital", one)]),
            *options,
        ]
    done = run("study", "new", str(tmp_path / name), *options)
    assert done.exit_code == code, done.output
    assert says in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_refused_before_anything_is_reserved(consortium: Hospital, tmp_path: Path) -> None:
    path, before = protocol(tmp_path, "refused-1"), spent(consortium)

    def refused(file: Path, account: str, *options: str) -> tuple[int, str]:
        done = consortium.run("study", "run", str(file), "--as", account, *options)
        return done.exit_code, done.stderr

    assert refused(path, "marie")[0] == 2  # nobody is there to say yes
    assert refused(path, "nobody", "--yes")[0] == 3
    for account in ("olga", "dr-lee", "acme"):
        code, said = refused(path, account, "--yes")
        assert (code, "no researcher" in said) == (6, True)
    code, said = refused(protocol(tmp_path, "refused-2", "--epsilon", "10"), "marie", "--yes")
    assert (code, "nothing was charged" in said) == (6, True)
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(path.read_text().replace('"lakeside"', '"far-away"'))
    code, said = refused(elsewhere, "marie", "--yes")
    assert (code, "far-away: no such hospital" in said) == (2, True)
    kept = model_path(consortium.home, "refused-1")
    kept.parent.mkdir()
    kept.write_bytes(b"of an earlier study of this name")
    code, said = refused(path, "marie", "--yes")
    assert (code, "refused-1.model is kept" in said) == (4, True)
    kept.unlink()
    kept.parent.rmdir()
    assert spent(consortium) == before == [(0, 0)] * 3


@pytest.mark.slow
def test_a_study_is_run_registered_and_reported_on(filled: Hospital, tmp_path: Path) -> None:
    path, before = protocol(tmp_path, "sepsis-1"), spent(filled)
    trained = filled.asked("study", "run", str(path), "--as", "marie", "--yes")
    cost = trained["charged_micros"]
    after = [(taken + cost, reserved) for taken, reserved in before]
    assert spent(filled) == after
    assert trained["epsilon"] == pytest.approx(1, abs=1e-3)
    assert set(trained["auroc"]) == {"private", "untrained"}  # nothing of these patients is pooled in the open
    newest = filled.asked("study", "models")["models"][0]
    assert (newest["number"], newest["paid_micros"]) == (trained["number"], cost)
    assert filled.asked("study", "card", "sepsis-1")["card"]["study"] == "sepsis-1"
    listed = filled.asked("audit", "list", "--as", "olga", "--agent", "marie", "--limit", "60")["events"]
    assert (
        sum((one["agent"], one["action"]) == ("marie", "train") for one in listed) == 40
    )  # in this hospital's own log
    page = tmp_path / "report.html"
    assert filled.run("study", "report", "sepsis-1", "--out", str(page)).exit_code == 0
    html = page.read_text()
    assert html.count("<svg") == 4
    assert re.findall(r'(?:src|href|url\()="?(?!["#])[^">]*', html) == []
    for words in (
        "study export sepsis-1 --onnx",
        *HOSPITALS,
        trained["model_sha256"],
        trained["fingerprint"],
        "2.72-fold",
    ):
        assert words in html
    for again in (path, protocol(tmp_path, "renamed", "--id", "sepsis-1", "--epsilon", "0.5")):
        assert filled.run("study", "run", str(again), "--as", "marie", "--yes").exit_code == 4
    assert spent(filled) == after
    model = model_path(filled.home, "sepsis-1")
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    altered = filled.run("study", "report", "sepsis-1", "--out", str(tmp_path / "other.html"))
    assert (altered.exit_code, (tmp_path / "other.html").exists()) == (4, False)
    model.write_bytes(content)


@pytest.mark.slow
def test_a_study_with_disease_groups_says_which_has_a_head_and_reads_no_conditions_that_consent_withholds(
    filled: Hospital, tmp_path: Path
) -> None:
    code = "http://hl7.org/fhir/sid/icd-10|N18*"
    groups = ("--disease-group", f"kidneys=900={code}", "--disease-group", f"rare=30={code}")
    path = protocol(tmp_path, "groups-1", "--epsilon", "0.7", *groups)
    trained = filled.asked("study", "run", str(path), "--as", "marie", "--yes")
    assert trained["charged_micros"] == filled.asked("study", "check", str(path))["cost_micros"]
    listed = filled.asked("audit", "list", "--as", "olga", "--agent", "marie", "--limit", "200")["events"]
    read = [one for one in listed if (one["agent"], one["action"]) == ("marie", "train")]
    assert len(read) >= 40
    assert not any("conditions" in one["categories"] for one in read)  # they consented to have monitoring read
    card = filled.asked("study", "card", "groups-1")["card"]
    assert [(one["name"], one.get("has_head")) for one in card["disease_groups"]] == [
        ("", None),
        ("kidneys", True),
        ("rare", False),
    ]
    page = tmp_path / "groups.html"
    assert filled.run("study", "report", "groups-1", "--out", str(page)).exit_code == 0
    assert "<td>kidneys</td>" in page.read_text()
    seen = filled.asked("study", "score", "groups-1", "--as", "dr-lee", "--threshold", "-1", "--dry-run")
    assert {one["group"] for one in seen["anomalies"]} <= {"", "kidneys"}


@pytest.mark.slow
def test_a_study_that_a_dying_hospital_stopped_goes_on_when_it_is_back_and_is_charged_once(
    filled: Hospital, tmp_path: Path
) -> None:
    study = StudyProtocol.for_dp_var("dying-1", HOSPITALS, epsilon=0.5)
    path, before = tmp_path / "dying-1.toml", spent(filled)
    path.write_text(protocol_toml(study))

    def kill(progress: Progress) -> None:
        if progress.stage == "joining":
            (site,) = (one for one in multiprocessing.active_children() if one.name == "site-northgate")
            site.kill()

    with open_node(filled.home) as node:
        marie = node.accounts.named("marie")
        with sites_of(node, HOSPITALS, marie) as sites:
            with pytest.raises(NotApproved):
                run_study(node, sites, study, synthetic_benchmark(), marie)
            assert paid_for(node, study) is None  # a hospital is asked before anything is reserved
        approve_embedded(node, study, marie, AT_THIS_MACHINE)
        with sites_of(node, HOSPITALS, marie) as sites, pytest.raises(RoundAborted, match="northgate dropped out"):
            run_study(node, sites, study, synthetic_benchmark(), marie, progress=kill)
        paid = paid_for(node, study)
        assert paid is not None
        assert paid.live
        node.accounts.add_system(Principal("rita", Role.RESEARCHER, "Rita Research"))
    assert not model_path(filled.home, "dying-1").exists()
    stranger = filled.run("study", "run", str(path), "--as", "rita", "--yes")
    assert (stranger.exit_code, "in the name of marie" in stranger.stderr) == (6, True)
    assert filled.run("account", "disable", "marie", "--as", "olga").exit_code == 0
    disabled = filled.run("study", "run", str(path), "--as", "marie", "--yes")
    assert (disabled.exit_code, "marie is disabled" in disabled.stderr) == (6, True)
    assert filled.run("account", "enable", "marie", "--as", "olga").exit_code == 0
    done = filled.run("study", "run", str(path), "--as", "marie", "--yes")
    assert done.exit_code == 0, done.stderr
    assert "dying-1 was begun: 0 of 1 rounds are learnt, and nothing more is charged" in done.stderr
    assert spent(filled) == [(taken + paid.micros, reserved) for taken, reserved in before]
    assert filled.run("study", "run", str(path), "--as", "marie", "--yes").exit_code == 4


@pytest.mark.slow
def test_an_abandoned_study_is_charged_once_makes_no_model_and_is_over(filled: Hospital, tmp_path: Path) -> None:
    path, before = protocol(tmp_path, "abandoned-1", "--epsilon", "0.5"), spent(filled)
    asked = ("study", "run", str(path), "--as", "marie")
    nothing = filled.run(*asked, "--abandon", "--yes")
    assert (nothing.exit_code, "nothing was reserved" in nothing.stderr) == (4, True)
    study = StudyProtocol.parse(tomllib.loads(path.read_text()))

    def kill(progress: Progress) -> None:
        if progress.stage == "joining":
            (site,) = (one for one in multiprocessing.active_children() if one.name == "site-northgate")
            site.kill()

    with open_node(filled.home) as node:
        marie = node.accounts.named("marie")
        approve_embedded(node, study, marie, AT_THIS_MACHINE)
        with sites_of(node, HOSPITALS, marie) as sites, pytest.raises(RoundAborted, match="northgate dropped out"):
            run_study(node, sites, study, synthetic_benchmark(), marie, progress=kill)
        for name in ("st-anna", "lakeside"):  # the coordinator's own hospital and another do not want it any more
            withdraw(node, name, study, AT_THIS_MACHINE)
        with sites_of(node, HOSPITALS, marie, ending=True) as sites:
            sites[0].address(study)
            for ask in (sites[0].join, sites[0].prepare):  # all that a withdrawn approval lets be asked is the end
                with pytest.raises(NotApproved, match="took back"):
                    ask(study)
    done = filled.run(*asked, "--yes")
    assert (done.exit_code, "did not approve" in done.stderr) == (6, True)
    assert filled.run(*asked, "--abandon").exit_code == 2  # nobody is there to say yes
    abandoned = filled.asked(*asked, "--abandon", "--yes")
    assert abandoned["abandoned"] is True
    cost = abandoned["charged_micros"]
    assert spent(filled) == [(taken + cost, reserved) for taken, reserved in before]
    for again in ((), ("--abandon",)):
        over = filled.run(*asked, *again, "--yes")
        assert (over.exit_code, "run once" in over.stderr) == (4, True)
    assert not model_path(filled.home, "abandoned-1").exists()


KILLED_AT = ("reserve", "ask", "learn", "keep", "settle", "keep_card")
DYING = """
import os, signal, sys
from pathlib import Path
from twinward.federation import coordinator, study_journal
from twinward.federation.evaluation.benchmark import synthetic_benchmark
from twinward.federation.consented_budget import ConsentedBudget
from twinward.cli.study.protocol import read_protocol
from twinward.node import open_node, study_run
from twinward.node.study_approvals import AT_THIS_MACHINE, approve_embedded

home, protocol, phase = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def dying(kind, name):
    honest = getattr(kind, name)
    def then_die(*given, **named):
        honest(*given, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(kind, name, then_die)

if __name__ == "__main__":
    if phase in ("ask", "learn"):
        dying(study_journal.StudyJournal, phase)
    elif phase == "reserve":
        dying(ConsentedBudget, "reserve")
    elif phase == "settle":
        dying(ConsentedBudget, "commit")
    elif phase == "keep_card":
        honest = study_run.write_private
        def card(path, content):
            honest(path, content)
            if path.name.endswith(".card.json"):
                os.kill(os.getpid(), signal.SIGKILL)
        study_run.write_private = card
    else:
        honest = study_run.write_private
        def model(path, content):
            honest(path, content)
            os.kill(os.getpid(), signal.SIGKILL)
        study_run.write_private = model
    study = read_protocol(protocol)
    with open_node(home) as node:
        marie = node.accounts.named("marie")
        approve_embedded(node, study, marie, AT_THIS_MACHINE)
        stage = study_run.standing_of(node, study, marie).stage
        hospitals = () if stage is study_run.Stage.TRAINED else study.hospitals
        with study_run.sites_of(node, hospitals, marie) as sites:
            study_run.run_study(node, sites, study, synthetic_benchmark(), marie)
"""


@pytest.mark.slow
def test_kill_9_of_the_coordinator_at_each_phase_costs_nothing_and_ends_in_one_model(
    filled: Hospital, tmp_path: Path
) -> None:
    """And with it of all sites, which end with it. One study, killed again at each later phase."""
    path, before = protocol(tmp_path, "killed-1", "--epsilon", "0.5"), spent(filled)
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    for phase in KILLED_AT:
        done = subprocess.run(
            [sys.executable, str(script), str(filled.home), str(path), phase],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, (phase, done.stderr)
    trained = filled.asked("study", "run", str(path), "--as", "marie", "--yes")
    assert spent(filled) == [(taken + trained["charged_micros"], reserved) for taken, reserved in before]
    assert filled.asked("study", "card", "killed-1")["registered"]["number"] == trained["number"]
    assert filled.run("study", "run", str(path), "--as", "marie", "--yes").exit_code == 4


@pytest.mark.slow
def test_ctrl_c_ends_a_study_within_seconds_and_the_same_command_goes_on(filled: Hospital, tmp_path: Path) -> None:
    path = protocol(tmp_path, "stopped-1", "--detector", "lstm-autoencoder", "--epsilon", "0.3")
    text = path.read_text().replace("rounds = 40", "rounds = 12").replace("hidden = 24", "hidden = 2")
    path.write_text(text)
    command = [sys.executable, "-m", "twinward", "study", "run", str(path), "--as", "marie", "--yes"]
    command += ["--home", str(filled.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        journal = filled.home / JOURNAL_FILE
        fingerprint = StudyProtocol.parse(tomllib.loads(text)).fingerprint()
        while running.poll() is None and not (journal.exists() and begun(journal, fingerprint)):
            time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=30)[1]
    assert running.returncode == 130, said
    assert "the same command again goes on with it" in said
    done = filled.run("study", "run", str(path), "--as", "marie", "--yes")
    assert done.exit_code == 0, done.stderr
    assert "stopped-1 was begun" in done.stderr


@pytest.mark.slow
def test_a_hospital_that_lost_its_memory_answers_no_study_from_before(filled: Hospital, tmp_path: Path) -> None:
    path = protocol(tmp_path, "forgotten-1", "--epsilon", "0.3")
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    command = [sys.executable, str(script), str(filled.home), str(path), "ask"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -signal.SIGKILL
    for one in (filled.home / "peers" / "lakeside").glob("studies.*"):
        one.unlink()
    done = filled.run("study", "run", str(path), "--as", "marie", "--yes")
    assert done.exit_code == 6, done.stderr
    assert "lakeside answers nothing that is not paid for" in done.stderr


def begun(journal: Path, fingerprint: bytes) -> bool:
    opened = StudyJournal(journal, fingerprint)
    try:
        return opened.begun() is not None
    finally:
        opened.close()


@pytest.mark.slow
def test_the_log_grows_by_a_noisy_number_that_does_not_follow_the_patients(
    filled: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One patient more, and joining again, makes the published log no longer than before; each has an event."""
    with open_node(filled.home) as node:
        marie, log = node.accounts.named("marie"), node.log.store
        source = VaultStays(filled.home, "st-anna", marie)
        grown, read = [], []
        for study in ("s-1", "s-2", "s-1"):
            before = log.size()
            read.append(len(source.stays(study, ICU)))
            grown.append(log.size() - before)
            fill_vault(node, "st-anna", simulate_stays(1, 77), (), Silent())
        with monkeypatch.context() as broken:  # one that cannot be read half-way tells as little
            done = iter(range(3))
            broken.setattr("twinward.twins.read.cohorts.decode_stay", lambda some: (next(done), decode_stay(some))[1])
            before = log.size()
            with pytest.raises(StopIteration):
                source.stays("s-3", ICU)
            grown.append(log.size() - before)
    assert read == [read[0], read[0] + 1, read[0] + 2]
    assert len(set(grown)) == 1
    assert grown[0] % STEP == 0
    assert grown[0] > max(read)
    listed = filled.asked("audit", "list", "--as", "olga", "--action", "train", "--limit", "500")["events"]
    own = [dict(one["detail"])["study"] for one in listed]
    assert [own.count(name) for name in ("s-1", "s-2")] == [read[0] + read[2], read[1]]  # each patient's, as ever


@pytest.mark.slow
def test_a_reading_that_was_killed_is_completed_by_the_next(filled: Hospital) -> None:
    """kill -9 among the patients: afterwards the log has grown as if it had not been."""
    with open_node(filled.home) as node:
        marie, log = node.accounts.named("marie"), node.log.store
        source = VaultStays(filled.home, "st-anna", marie)
        start = log.size()
        source.stays("before", ICU)
        once = log.size() - start
        process = multiprocessing.get_context("spawn").Process(target=_read_and_die, args=(filled.home, marie))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
        assert 0 < log.size() - start - once < once
        source.stays("after", ICU)
        assert log.size() - start == 3 * once


def _read_and_die(home: Path, marie: Principal) -> None:
    def die(some: bytes) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    cohorts.decode_stay = die
    VaultStays(home, "st-anna", marie).stays("killed", ICU)
