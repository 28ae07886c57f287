"""The kept answer of ``node status``: shown again where nothing changed, and in no other case."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from twinward.core.config import Settings
from twinward.node.home import LOCK_FILE, RESTORED_FILE, serving
from twinward.node.key_service import own_keys
from twinward.overview import status_note
from twinward.overview.status_note import JUST_NOW_NS, NOTE_FILE, OLDEST_MS, Basis, NotedStatus, note_status
from twinward.overview.status_note import noted_status as noted
from twinward_crypto.keys import KekId, TenantId

MINUTE_MS = 60_000


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [one for one in os.environ if one.startswith("TWINWARD_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    (home / "peers" / "lakeside").mkdir(parents=True)
    (home / "chain.db").write_bytes(b"block 7")
    (home / "peers" / "lakeside" / "witness.db").write_bytes(b"cosigned")
    made = Settings.load(home)
    keys = own_keys(made, make=True)
    keys.create(KekId(TenantId(made.tenant), 1))
    keys.close()
    time.sleep(2 * JUST_NOW_NS / 1e9)
    return made


def kept(settings: Settings) -> NotedStatus:
    """An answer that was found now, and is kept."""
    found = NotedStatus(time.time_ns() // 1_000_000, {"verdict": "in order"}, ["one waits"])
    note_status(settings, found, Basis.of(settings))
    assert noted(settings, found.at_ms) == found
    return found


def test_it_is_shown_again_for_ten_minutes_of_the_same_day(settings: Settings) -> None:
    found = kept(settings)
    day = found.at_ms // 86_400_000
    for later in (0, 1, OLDEST_MS, OLDEST_MS + 1, 86_400_000, -1):
        same_day = (found.at_ms + later) // 86_400_000 == day
        holds = 0 <= later <= OLDEST_MS and same_day
        assert (noted(settings, found.at_ms + later) == found) is holds
    midnight = (day + 1) * 86_400_000
    late = replace(found, at_ms=midnight - 1)
    note_status(settings, late, Basis.of(settings))
    assert (noted(settings, midnight - 1), noted(settings, midnight)) == (late, None)


def same_size_same_time(path: Path) -> None:
    """What somebody does who hides a change: the file's own times and size tell nothing of it."""
    before = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a block": lambda home: (home / "chain.db").write_bytes(b"block 8"),
    "hidden": lambda home: same_size_same_time(home / "chain.db"),
    "in a folder": lambda home: same_size_same_time(home / "peers" / "lakeside" / "witness.db"),
    "a new file": lambda home: (home / "approvals").write_bytes(b""),
    "a file gone": lambda home: (home / "chain.db").unlink(),
    "renamed": lambda home: (home / "chain.db").rename(home / "chain2.db"),
    "writes ahead": lambda home: (home / "log.db-wal").write_bytes(b"frame"),
    "opened to others": lambda home: home.chmod(0o777),
    "restored": lambda home: (home / RESTORED_FILE).write_text("{}"),
    "settings": lambda home: (home / "twinward.toml").write_text("minimum_count = 5\n"),
    "elsewhere": lambda home: (home / "link").symlink_to("/etc/hostname"),
    "altered": lambda home: same_size_same_time(home / NOTE_FILE),
    "cut off": lambda home: os.truncate(home / NOTE_FILE, 60),
    "its keys gone": lambda home: shutil.rmtree(home / "keys"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_has_the_node_asked(settings: Settings, change: Callable[[Path], object]) -> None:
    found = kept(settings)
    change(settings.home)
    assert noted(Settings.load(settings.home), found.at_ms) is None


def test_what_only_reading_changes_is_none(settings: Settings) -> None:
    found = kept(settings)
    (settings.home / "log.db-shm").write_bytes(b"index")
    (settings.home / "log.db-wal").write_bytes(b"")
    (settings.home / LOCK_FILE).write_bytes(b"1 2")
    assert noted(settings, found.at_ms) == found


def test_it_is_of_this_home_these_settings_this_release_and_these_keys(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept(settings)
    copied = settings.home.with_name("copy")
    shutil.copytree(settings.home, copied, copy_function=os.link)  # the very same files
    copy = Settings.load(copied)
    assert noted(copy, found.at_ms) is None
    time.sleep(2 * JUST_NOW_NS / 1e9)  # a link more is a change
    again = kept(settings)
    monkeypatch.setenv("TWINWARD_MINIMUM_COUNT", "9")
    assert noted(Settings.load(settings.home), again.at_ms) is None
    monkeypatch.delenv("TWINWARD_MINIMUM_COUNT")
    assert noted(Settings.load(settings.home), again.at_ms) == again
    with monkeypatch.context() as patch:
        patch.setattr(status_note, "__version__", "99")
        assert noted(settings, again.at_ms) is None
    with monkeypatch.context() as patch:
        patch.setattr(status_note, "SEED", b"twinward/other/1")  # as another key would
        assert noted(settings, again.at_ms) is None


def test_a_server_that_starts_or_a_full_disk_has_it_asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kept(settings)
    with serving(settings.home):
        assert noted(settings, found.at_ms) is None
    assert noted(settings, found.at_ms) == found
    monkeypatch.setattr(status_note, "is_nearly_full", lambda _: True)
    assert noted(settings, found.at_ms) is None


def test_nothing_is_kept_of_what_changed_meanwhile_or_just_now_or_lies_elsewhere(settings: Settings) -> None:
    note, at_ms = settings.home / NOTE_FILE, time.time_ns() // 1_000_000
    found = NotedStatus(at_ms, {}, [])
    before = Basis.of(settings)
    assert before is not None
    note_status(settings, found, None)
    (settings.home / "chain.db").write_bytes(b"block 8")
    note_status(settings, found, before)
    after = Basis.of(settings)
    assert after is not None
    note_status(settings, replace(found, at_ms=after.changed_ns // 1_000_000 + 1), after)
    assert not note.exists()
    for name in ("keys", "records", "keyring", "log", "state", "chain"):
        assert Basis.of(settings.model_copy(update={name: "elsewhere:"})) is None
    for name, place in (("link", lambda path: path.symlink_to("/etc/hostname")), (RESTORED_FILE, Path.touch)):
        place(settings.home / name)
        assert Basis.of(settings) is None
        (settings.home / name).unlink()
    assert Basis.of(settings.model_copy(update={"policy": Path("/nowhere/policy.cedar")})) is None


def test_what_is_kept_shows_nothing(settings: Settings) -> None:
    found = NotedStatus(time.time_ns() // 1_000_000, {"hospital": "St. Anna Hospital"}, [])
    note_status(settings, found, Basis.of(settings))
    sealed = (settings.home / NOTE_FILE).read_bytes()
    assert b"Anna" not in sealed
    assert json.dumps(found.shown).encode() not in sealed
    assert (settings.home / NOTE_FILE).stat().st_mode & 0o777 == 0o600
