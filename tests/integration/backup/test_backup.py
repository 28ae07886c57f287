"""Backup and restore, through the command line and against a node that is being written to."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.command_line import PROGRAM
from tests.integration.backup.site import (
    CLINICIAN,
    Site,
    asked,
    build,
    everything,
    kept,
    require_same_after_restore,
)
from tests.tools import ROOT
from twinward.access.interfaces import AccessContext
from twinward.audit.errors import LogTampered, NotCosigned
from twinward.backup import archive, manifest
from twinward.backup.errors import BackupDamaged
from twinward.core.config import ANSWERS_BEGIN_FILE, ANSWERS_FILE, Settings
from twinward.core.vocabulary import Purpose
from twinward.federation.aggregation.answered_rounds import AnsweredRounds
from twinward.node import open_node
from twinward.node.member_keys import identity_of
from twinward.vault.errors import TwinShredded

_COMMAND = "import sys; from twinward.cli.main import run; sys.argv[0] = 'twinward'; run()"


def twinward(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", _COMMAND, *map(str, arguments)], stdout=subprocess.PIPE)


def test_a_node_under_writes_is_backed_up_restored_elsewhere_and_every_record_opens(site: Site, tmp_path: Path) -> None:
    to, fresh = tmp_path / "live.twbackup", tmp_path / "fresh"
    acknowledged: list[int] = []
    stop = threading.Event()
    with site.opened() as node:

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                value = {"value": number}
                node.twins.targets.change(
                    AccessContext(CLINICIAN, Purpose.TREATMENT),
                    site.twins[number % 3],
                    {"bmi": lambda _, made=value: made},
                )
                acknowledged.append(number)
                if number % 20 == 0:
                    node.audit.checkpoint_and_anchor()

        writer = threading.Thread(target=write)
        writer.start()
        while len(acknowledged) < 5:
            time.sleep(0.01)
        surely = len(acknowledged)
        done = twinward("node", "backup", to, "--home", site.home, "--json")
        done.communicate(timeout=60)
        during = len(acknowledged) - surely
        stop.set()
        writer.join()
        assert done.returncode == 0
        assert during > 5, "the node was written to all along"
        live = everything(node)
        shown = node.log.store.size()

    answer = asked("node", "restore", to, "--home", fresh, "--keys-from", site.home)
    assert answer["done"]
    assert answer["log_size"] < shown
    with open_node(fresh) as node:
        report = node.audit.verify(deep=True)
        assert report.erased == 0, "the log, the records and the keyring are of one moment"
        size = node.log.store.size()
        assert size == answer["log_size"]
        found = everything(node)
        targets = [node.twins.states.outline(twin).version("bmi") for twin in site.twins]
        assert surely <= sum(targets) <= len(acknowledged), "nothing acknowledged before was lost"
        assert all(live[one] == content for one, content in found.items() if one in live)
        node.twins.targets.change(
            AccessContext(CLINICIAN, Purpose.TREATMENT), site.twins[0], {"egfr": lambda _: {"value": 90}}
        )
    asked("node", "activate", "--yes", "--home", fresh)
    with open_node(fresh) as node:
        node.audit.checkpoint_and_anchor()


def test_what_stands_in_segments_opens_is_found_and_compacted_on_after_a_restore(site: Site, tmp_path: Path) -> None:
    to, fresh = tmp_path / "compacted.twbackup", tmp_path / "fresh"
    assert site.asked("node", "compact")["segments"] >= len(site.twins)
    with site.opened() as node:
        before = kept(node)
    assert len(before.in_segments) > 60
    site.asked("node", "backup", to)
    assert asked("node", "restore", to, "--home", fresh, "--keys-from", site.home)["done"]
    require_same_after_restore(before, fresh)


def test_what_cannot_be_made_again_comes_along(site: Site, tmp_path: Path) -> None:
    """Evidence against a log, and models whose hashes stand on the chain."""
    kept = {name: name.encode() for name in ("evidence/1.split-view", "models/a.model", "models/a.card.json")}
    for name, content in kept.items():
        (site.home / name).parent.mkdir(exist_ok=True)
        (site.home / name).write_bytes(content)
    (site.home / "models" / "patients.csv").write_text("who knows")
    made = site.asked("node", "backup", tmp_path / "a.twbackup")
    assert [one for one in made["left_out"] if one.startswith(("evidence", "models"))] == ["models/patients.csv"]
    fresh = tmp_path / "fresh"
    asked("node", "restore", tmp_path / "a.twbackup", "--home", fresh, "--keys-from", site.home)
    assert {name: (fresh / name).read_bytes() for name in kept} == kept


def test_what_hospitals_answered_is_in_no_backup_and_stays_over_a_replacement(site: Site, tmp_path: Path) -> None:
    """It holds keys, and an older one would have rounds answered again."""
    to, places = tmp_path / "a.twbackup", (site.home, site.home / "peers" / "lakeside")
    for place in places:
        memory = AnsweredRounds(place / ANSWERS_FILE)
        memory.key_for(bytes(32), 1, b"a private key of 32 bytes.......")
        memory.close()
        (place / ANSWERS_BEGIN_FILE).write_text('{"contract":"0x","reservation":3}')
    made = site.asked("node", "backup", to)
    assert {ANSWERS_FILE, f"peers/lakeside/{ANSWERS_FILE}"} <= set(made["left_out"])
    fresh = tmp_path / "fresh"
    asked("node", "restore", to, "--home", fresh, "--keys-from", site.home)
    assert not [*fresh.rglob("studies*")]
    site.asked("node", "restore", to, "--replace", "--yes")
    for place in places:
        memory = AnsweredRounds(place / ANSWERS_FILE)
        kept = memory.next_key(bytes(32))
        memory.close()
        assert kept is not None
        assert kept.private == b"a private key of 32 bytes......."
        assert "3}" in (place / ANSWERS_BEGIN_FILE).read_text()


def test_a_backup_holds_no_plaintext_and_no_key(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "one.twbackup"
    answer = site.asked("node", "backup", to)
    content = to.read_bytes()
    with site.opened() as node:
        words = {word for record in everything(node).values() for word in record.split(b'"') if len(word) > 11}
    assert len(words) > 100
    assert not [word for word in (*words, *site.plain) if word in content]
    for key in (*site.home.rglob("*.key"), *site.home.rglob("keystore")):
        assert key.read_bytes()[:32] not in content
    assert {"keys", "chain.db.key"} <= set(answer["left_out"])
    assert oct(to.stat().st_mode)[-3:] == "600"
    assert not list(tmp_path.glob(".*")), "nothing is left beside it"


def test_the_readmes_backup_and_restore_run_as_they_are_typed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.copied_to(tmp_path / "twinward-home")
    monkeypatch.chdir(tmp_path)
    typed = re.findall(r"^twinward (node (?:backup|restore) .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [line.split()[1] for line in typed] == ["backup", "restore"]
    made, planned = (asked(*shlex.split(line)) for line in typed)
    assert "peers/lakeside/keys/master.key" in made["key_files"]
    assert (planned["done"], planned["log_size"]) == (False, made["log_size"])
    assert asked(*shlex.split(typed[1].replace(" --dry-run", "")))["done"]
    assert asked("node", "status", "--home", "drill")["log"]["size"] == made["log_size"]


def test_what_was_just_saved_is_not_called_left_out(site: Site, tmp_path: Path) -> None:
    (site.home / "notes.txt").write_text("not known to Twinward")
    words = ("node", "backup", str(tmp_path / "one.twbackup"), "--keys-to", str(tmp_path / "keys"))
    done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(PROGRAM, [*words, "--home", str(site.home)])
    left_out = [line for line in done.stderr.splitlines() if line.startswith("left out")]
    assert (done.exit_code, left_out) == (0, ["left out: notes.txt"])


@pytest.mark.slow
def test_without_keys_or_with_anothers_nothing_is_restored(site: Site, tmp_path: Path) -> None:
    to, keys = tmp_path / "one.twbackup", tmp_path / "keys"
    copied = site.asked("node", "backup", to, "--keys-to", keys)["keys"]
    assert not list(keys.rglob("master.key"))
    assert "keys/keystore" in copied
    fresh = tmp_path / "fresh"
    assert asked("node", "restore", to, "--home", fresh, code=2)["error"]["kind"] == "KeysMissing"
    for owner in (".", "peers/lakeside", "peers/northgate"):  # the key files are not among them
        error = asked("node", "restore", to, "--home", fresh, "--keys-from", keys, code=2)["error"]
        assert (error["kind"], "master.key" in error["hint"]) == ("KeysMissing", True)
        assert str(keys / owner) in error["hint"]
        shutil.copy2(site.home / owner / "keys/master.key", keys / owner / "keys/master.key")
    other = build(tmp_path / "other")
    error = asked("node", "restore", to, "--home", fresh, "--keys-from", other.home, code=8)["error"]
    assert error["kind"] == "BackupDamaged"
    assert not fresh.exists()
    assert not list(tmp_path.glob("*.restoring"))
    for key in site.home.rglob("master.key"):
        shutil.copy2(key, keys / key.relative_to(site.home))
    assert asked("node", "restore", to, "--home", fresh, "--keys-from", keys)["done"]


def test_a_restore_never_forgets_what_was_witnessed(site: Site, tmp_path: Path) -> None:
    to, fresh = tmp_path / "old.twbackup", tmp_path / "fresh"
    site.asked("node", "backup", to)
    with site.opened() as node:
        everything(node)
        node.audit.checkpoint_and_anchor()
        note = node.log.store.checkpoint()
        newest = node.log.store.size()
    assert note is not None
    error = site.asked("node", "restore", to, "--replace", "--yes", code=4)["error"]
    assert error["kind"] == "RolledBack"
    assert str(newest) in error["message"]
    assert "--accept-rollback" in error["hint"]
    seen = tmp_path / "seen.note"
    seen.write_bytes(note)
    elsewhere = ("node", "restore", to, "--home", fresh, "--keys-from", site.home)
    assert asked(*elsewhere, "--checkpoint", seen, code=4)["error"]["kind"] == "RolledBack"
    assert not fresh.exists()
    answer = site.asked("node", "restore", to, "--replace", "--yes", "--accept-rollback")
    assert answer["witnessed"] == newest
    with site.opened() as node:
        assert everything(node)
        with pytest.raises((LogTampered, NotCosigned)):
            node.audit.checkpoint_and_anchor()


def test_a_shredded_twin_stays_shredded_after_an_older_backup(site: Site, tmp_path: Path) -> None:
    to, fresh = tmp_path / "old.twbackup", tmp_path / "fresh"
    site.asked("node", "backup", to)
    gone, kept = site.twins[0], site.twins[1]
    with site.opened() as node:
        node.keyring.shred(gone)  # its KEK is still there, as after a crash in the middle of `keys shred`
    error = site.asked("node", "restore", to, "--replace", "--yes", code=4)["error"]
    assert error["kind"] == "WouldRevive"
    assert "--keep-keyring" in error["hint"]
    site.asked("keys", "rotate", "--retire", "--yes")
    for where in ((site.home, "--replace", "--yes"), (fresh, "--keys-from", site.home)):
        error = asked("node", "restore", to, "--home", *where, code=2)["error"]
        assert error["kind"] == "KeysMissing"
        assert "destroyed" in error["message"]
    answer = site.asked("node", "restore", to, "--replace", "--yes", "--keep-keyring", "--accept-rollback")
    assert answer["shredded"] == 1
    with site.opened() as node:
        assert gone in node.keyring.census().shredded
        with pytest.raises(TwinShredded):
            node.twins.states.outline(gone)
        assert node.twins.states.outline(kept).revision
        assert everything(node)


@pytest.mark.slow
def test_over_a_node_only_when_told_and_only_when_it_stands_still(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "one.twbackup"
    site.asked("node", "backup", to)
    before = {one: one.stat().st_mtime_ns for one in site.home.rglob("*") if one.is_file()}
    assert site.asked("node", "restore", to, code=4)["error"]["kind"] == "InTheWay"
    assert site.asked("node", "restore", to, "--replace", code=2)["error"]["message"].endswith("to answer.")
    with site.opened():
        running = site.asked("node", "restore", to, "--replace", "--yes", code=4)["error"]
        assert "running" in running["message"]
    plan = site.asked("node", "restore", to, "--replace", "--dry-run")
    assert not plan["done"]
    assert {one: one.stat().st_mtime_ns for one in site.home.rglob("*") if one.is_file()}.keys() == before.keys()
    assert not list(tmp_path.glob("*.restoring"))
    left = tmp_path / "node.restoring"
    left.mkdir()
    assert "broken off" in site.asked("node", "restore", to, "--replace", "--yes", code=4)["error"]["message"]
    left.rmdir()
    done = site.asked("node", "restore", to, "--replace", "--yes")
    aside = Path(done["set_aside"])
    assert (aside / "twinward.toml").is_file()
    with site.opened() as node:
        assert everything(node)
        node.audit.checkpoint_and_anchor()


def test_a_database_outside_the_home_goes_back_to_its_place_and_never_over_another(tmp_path: Path) -> None:
    place, to, fresh = tmp_path / "disk" / "records.db", tmp_path / "one.twbackup", tmp_path / "fresh"
    site = build(tmp_path / "node", records=f"sqlite:{place}")
    site.asked("node", "backup", to)
    restore = ("node", "restore", to, "--home", fresh, "--keys-from", site.home)
    assert asked(*restore, code=4)["error"]["kind"] == "InTheWay"
    moved = place.rename(tmp_path / "moved.db")
    assert not asked(*restore, "--dry-run")["done"]
    assert not place.exists()
    unseen = tmp_path / "unseen.note"
    unseen.write_bytes(b"not a checkpoint")
    assert asked(*restore, "--checkpoint", unseen, code=2)["error"]["kind"] == "BadInput"
    assert not list(place.parent.iterdir()), "a restore that fails takes back what it placed"
    assert asked(*restore)["done"]
    assert moved.exists()
    with open_node(fresh) as node:
        assert everything(node)


def test_a_name_that_is_taken_or_cannot_be_written_is_left_alone(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "one.twbackup"
    to.write_text("mine")
    assert site.asked("node", "backup", to, code=4)["error"]["kind"] == "InTheWay"
    assert to.read_text() == "mine"
    assert (
        asked("node", "backup", tmp_path / "two", "--home", tmp_path / "nowhere", code=3)["error"]["kind"] == "NotFound"
    )
    assert site.asked("node", "backup", to / "below", code=2)["error"]["kind"] == "BadInput"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["node", "one.twbackup"]
    assert asked("node", "restore", to, "--home", tmp_path / "x", code=8)["error"]["kind"] == "BackupDamaged"


@pytest.mark.parametrize("given", [(), ("--keys-to",), ("--key-files-to",)])
def test_a_folder_that_is_not_mounted_is_named_and_not_made(site: Site, tmp_path: Path, given: tuple[str, ...]) -> None:
    away = tmp_path / "backups"
    to = tmp_path / "one.twbackup" if given else away / "one.twbackup"
    error = site.asked("node", "backup", to, *given, *[away / "monday"] * len(given), code=2)["error"]
    assert (error["kind"], error["message"]) == ("BadInput", f"there is no folder {away}")
    assert "mount it" in error["hint"]
    assert [one.name for one in tmp_path.iterdir()] == ["node"]


def test_what_a_killed_backup_left_is_taken_over_and_a_running_one_is_not(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "one.twbackup"
    left, partial = tmp_path / ".one.twbackup.abc.copying", tmp_path / "one.twbackup.partial"
    left.mkdir()
    partial.write_bytes(bytes(1 << 20))
    with partial.open("r+b") as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        assert "being written" in site.asked("node", "backup", to, code=4)["error"]["message"]
        assert left.exists()
    site.asked("node", "backup", to)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["node", "one.twbackup"]
    assert asked("node", "restore", to, "--home", tmp_path / "x", "--keys-from", site.home, "--dry-run")


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_cut_is_made_by_the_same_command(site: Site, tmp_path: Path, sent: signal.Signals) -> None:
    to, partial = tmp_path / "one.twbackup", tmp_path / "one.twbackup.partial"
    keys, files = tmp_path / "keys", tmp_path / "files"
    command = ("node", "backup", to, "--keys-to", keys, "--key-files-to", files)
    cut = 0
    for number, waited in enumerate((partial, keys, files / "keys", partial) * 8):
        if number >= 4 and cut:
            break
        process = twinward(*command, "--home", site.home)
        while process.poll() is None and not waited.exists():
            time.sleep(0.0005)
        time.sleep(0.02 * (number % 4 == 3))
        process.send_signal(sent)
        process.communicate()
        if to.exists():  # it was quicker: then all is there
            require_whole(to, keys, files, tmp_path / "x")
            to.unlink()
        else:
            cut += 1
    assert cut, "or nothing was tested"
    site.asked(*command)
    require_whole(to, keys, files, tmp_path / "x")
    assert {one.name for one in tmp_path.iterdir()} == {"node", to.name, "keys", "files"}
    (keys / "other").touch()
    to.unlink()
    assert site.asked(*command, code=4)["error"]["message"].endswith("keys is not empty")
    assert not to.exists()


def require_whole(backup: Path, keys: Path, files: Path, home: Path) -> None:
    """A backup from which a node can be restored, with what was copied beside it."""
    given = ("--keys-from", keys, "--key-files-from", files)
    assert asked("node", "restore", backup, "--home", home, *given, "--dry-run")["log_size"]


def test_a_backup_is_there_only_with_its_keys(site: Site, tmp_path: Path) -> None:
    """What a killed one copied already is taken over; what is not the same is in the way."""
    to, keys = tmp_path / "one.twbackup", tmp_path / "keys"
    (keys / "keys").mkdir(parents=True)
    shutil.copy(site.home / "keys" / "keystore", keys / "keys")
    (keys / "keys" / ".keystore.0123.unfinished").write_bytes(b"half")
    blocked = tmp_path / "file"
    blocked.touch()
    assert site.asked("node", "backup", to, "--keys-to", blocked / "below", code=2)["error"]["kind"] == "BadInput"
    assert not to.exists()
    site.asked("node", "backup", to, "--keys-to", keys)
    assert not list(keys.rglob("*.unfinished"))
    other = tmp_path / "two.twbackup"
    (keys / "keys" / "keystore").write_bytes(b"an older one")
    assert site.asked("node", "backup", other, "--keys-to", keys, code=4)["error"]["kind"] == "InTheWay"
    assert not other.exists()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, manifest.Manifest, Settings]:
    folder = tmp_path_factory.mktemp("sample")
    built = build(folder / "node")
    built.asked("node", "backup", folder / "one.twbackup")
    with archive.reading(folder / "one.twbackup") as reader:
        config = Settings.load(built.home)
        signed = manifest.verify(reader.note, identity_of(config, config.tenant).backup_signer(config.origin).key)
    return (folder / "one.twbackup").read_bytes(), signed, Settings.load(built.home)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_altered_is_refused_or_changes_nothing(
    sample: tuple[bytes, manifest.Manifest, Settings], tmp_path: Path, data: st.DataObject
) -> None:
    content, signed, config = sample
    how = data.draw(st.sampled_from(["flip", "cut", "zero", "insert"]))
    at = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    if how == "flip":
        changed[at] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "cut":
        del changed[at:]
    elif how == "zero":
        changed[at : at + 512] = bytes(len(changed[at : at + 512]))
    else:
        changed[at:at] = os.urandom(512)
    path = tmp_path / "changed.twbackup"
    path.write_bytes(changed)
    key = identity_of(config, config.tenant).backup_signer(config.origin).key
    try:
        with archive.reading(path) as reader:
            found = manifest.verify(reader.note, key)
            reader.require_whole(found)
            for part in found.parts:
                copy = tmp_path / "copy"
                copy.unlink(missing_ok=True)
                reader.copy(part, copy)
                assert hashlib.sha256(copy.read_bytes()).hexdigest() == part.sha256, "nothing else is given out"
    except BackupDamaged:
        return
    assert found == signed, "what is accepted is what was signed"


def test_a_part_of_one_backup_is_not_taken_for_anothers(site: Site, tmp_path: Path) -> None:
    first, second = tmp_path / "one.twbackup", tmp_path / "two.twbackup"
    site.asked("node", "backup", first)
    with site.opened() as node:
        everything(node)
    site.asked("node", "backup", second)
    with archive.reading(first) as old, archive.reading(second) as new, archive.writing(tmp_path / "mixed") as mixed:
        key = identity_of(Settings.load(site.home), "st-anna").backup_signer("twinward.example/st-anna/access-log").key
        for part in manifest.verify(new.note, key).parts:
            copy = tmp_path / "part"
            (old if part.name == "log.db" else new).copy(
                next(one for one in manifest.verify(old.note, key).parts if one.name == part.name)
                if part.name == "log.db"
                else part,
                copy,
            )
            mixed.add(copy, part.name, part.kind, roles=tuple(part.roles))
            copy.unlink()
        mixed.finish(new.note)
    error = asked("node", "restore", tmp_path / "mixed", "--home", tmp_path / "x", "--keys-from", site.home, code=8)[
        "error"
    ]
    assert error["kind"] == "BackupDamaged"
