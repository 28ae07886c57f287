"""``twinward twin``: a twin's features now and then, its care targets, following it, taking it out in the clear."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Hospital, run
from twinward.access.interfaces import AccessContext, Principal
from twinward.core.vocabulary import Purpose, Role
from twinward.demo.serving import served
from twinward.node import Node, open_node

CLINICIAN = Principal("dr-lee", Role.CLINICIAN)
AS = ("--as", "dr-lee")


def test_a_target_is_set_shown_and_removed_and_every_state_can_be_had_again(hospital: Hospital) -> None:
    twin = hospital.twins[0]
    before = hospital.asked("twin", "state", twin, *AS)
    aim = ("twin", "set-target", twin, "hba1c_percent", *AS)
    plan = hospital.asked(*aim, "--low", "6", "--high", "7", "--dry-run")
    assert (plan["done"], plan["before"], plan["after"]) == (False, None, {"value": {"low": 6.0, "high": 7.0}})
    assert hospital.asked("twin", "state", twin, *AS) == before

    done = hospital.asked(*aim, "--low", "6", "--high", "7", "--note", "by autumn")
    assert done["revision"] == before["_revision"] + 1
    shown = hospital.asked("twin", "state", twin, *AS)
    assert shown["features"]["hba1c_percent"]["desiredProperties"]["note"] == "by autumn"
    assert "hba1c_percent" in hospital.run("twin", "state", twin, *AS).output
    assert hospital.asked(*aim, "--remove")["after"] is None
    history = hospital.asked("twin", "history", twin, *AS)["revisions"]
    assert [one["target"] for one in history[-2:]] == ["hba1c_percent"] * 2
    old = hospital.asked("twin", "state", twin, *AS, "--at-revision", str(done["revision"]))
    assert old == shown
    assert hospital.asked("twin", "at-time", twin, shown["_modified"], *AS) == shown
    assert "what was measured" in hospital.run("twin", "history", twin, *AS).output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("set-target", "{twin}", "bmi", *AS), 2),
        (("set-target", "{twin}", "bmi", *AS, "--value", "1", "--remove"), 2),
        (("set-target", "{twin}", "bmi", *AS, "--low", "3", "--high", "2"), 2),
        (("set-target", "{twin}", "bmi", *AS, "--value", "nan"), 2),
        (("set-target", "{twin}", "wit", *AS, "--value", "1"), 2),
        (("set-target", "{twin}", "bmi", "--as", "olga", "--value", "1"), 6),
        (("set-target", "{twin}", "bmi", "--as", "nobody", "--value", "1"), 3),
        (("state", "{twin}", *AS, "--at-revision", "999"), 3),
        (("at-time", "{twin}", "yesterday", *AS), 2),
        (("at-time", "{twin}", "1999-01-01T00:00:00Z", *AS), 3),
        (("state", "no-such-twin", *AS), 3),
        (("history", "{twin}", "--as", "olga"), 6),
        (("export", "{twin}", *AS, "--out", "{to}"), 6),
        (("watch", "http://127.0.0.1:9", "--token-file", "{to}"), 2),
        (("watch", "nonsense"), 2),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    hospital: Hospital, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    words = [one.format(twin=hospital.twins[1], to=tmp_path / "file") for one in arguments]
    home = () if words[0] == "watch" else ("--home", str(hospital.home))
    done = run("twin", *words, *home)
    assert done.exit_code == code, done.output
    assert "error" in done.output
    assert not list(tmp_path.iterdir())


def test_a_twin_is_exported_in_the_clear_to_its_owner_only(hospital: Hospital, tmp_path: Path) -> None:
    twin, to = hospital.twins[2], tmp_path / "patient.ndjson"
    export = ("twin", "export", twin, "--as", "olga", "--out", str(to))
    assert not hospital.asked(*export, "--dry-run")["done"]
    assert not to.exists()
    done = hospital.asked(*export)
    lines = [json.loads(line) for line in to.read_text().splitlines()]
    assert len(lines) == done["records"] > 10
    assert "Patient" in {one["type"] for one in lines}
    assert "psychiatry" in done["withheld"]
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    assert hospital.asked(*export, code=4)["error"]["kind"] == "Conflict"


@pytest.fixture(scope="module")
def served_node(hospital: Hospital) -> Iterator[tuple[Node, str, str]]:
    with open_node(hospital.home) as node, served(node) as url:
        token = node.accounts.add_system(Principal("ward-clerk", Role.CLINICIAN, "Ward clerk"))
        yield node, url, token


def test_features_are_shown_and_sealed_as_records_to_nobody(hospital: Hospital, tmp_path: Path) -> None:
    twin = hospital.twins[1]
    for account, purpose in (("dr-lee", "TREAT"), ("olga", "PATRQT")):
        shown = hospital.run("twin", "show", twin, "--as", account, "--category", "features", "--purpose", purpose)
        assert shown.exit_code == 6
        assert "never given as a record" in shown.stderr
        assert '"levels"' not in shown.output
    to = tmp_path / "all.ndjson"
    assert hospital.run("twin", "export", twin, "--as", "olga", "--out", str(to)).exit_code == 0
    assert b'"features"' not in to.read_bytes()
    assert b'"levels"' not in to.read_bytes()


def test_a_twin_is_watched(hospital: Hospital, served_node: tuple[Node, str, str], tmp_path: Path) -> None:
    node, url, token = served_node
    twin = node.twins.all()[3]
    (tmp_path / "token").write_text(token)
    (tmp_path / "token").chmod(0o600)
    command = "from twinward.cli.main import run; run()"
    words = ["twin", "watch", url, twin, "--token-file", tmp_path / "token", "--count", "2", "--json"]
    watching = subprocess.Popen(
        [sys.executable, "-c", command, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.wait(0.2):
            number += 1
            value = {"value": number}
            node.twins.targets.change(
                AccessContext(CLINICIAN, Purpose.TREATMENT), twin, {"bmi": lambda _, made=value: made}
            )

    writer = threading.Thread(target=change)
    writer.start()
    try:
        said, complaints = watching.communicate(timeout=60)
        told = run("twin", "watch", url, twin, "--token-file", str(tmp_path / "token"), "--count", "1")
    finally:
        stop.set()
        writer.join()
    assert watching.returncode == 0, complaints
    events = [json.loads(line) for line in said.splitlines()]
    assert [one["twinId"] for one in events] == [twin] * 2
    assert events[1]["_revision"] == events[0]["_revision"] + 1
    assert "following" not in complaints
    assert told.stderr == f"following twin {twin}; Ctrl-C ends it\n"
    vendor = tmp_path / "vendor"
    vendor.write_text(hospital.vendor_token)
    vendor.chmod(0o600)
    refused = run("twin", "watch", url, twin, "--token-file", str(vendor))
    assert refused.exit_code == 6
    assert "following" not in refused.stderr
    vendor.write_text("twk_acme_wrong")
    assert run("twin", "watch", url, twin, "--token-file", str(vendor)).exit_code == 5


def test_what_is_refused_for_one_reason_is_not_told_a_thousand_times(hospital: Hospital, tmp_path: Path) -> None:
    file = tmp_path / "[bold]nobodys.ndjson"  # a name is no markup
    line = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    file.write_text("".join(json.dumps(line | {"id": f"o{number}"}) + "\n" for number in range(40)))
    told = hospital.run("twin", "import", str(file))
    assert told.exit_code == 2
    assert told.stderr.count("[bold]nobodys.ndjson:") == 5
    assert "35 more" in told.stderr
    assert len(hospital.asked("twin", "import", str(file), code=2)["refused"]) == 40
