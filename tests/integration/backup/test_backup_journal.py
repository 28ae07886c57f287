"""An emergency that waits for the log is in a backup, and comes into the log once, wherever that is restored."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.integration.backup.site import CLINICIAN, Site, asked
from twinward.access.interfaces import AccessRequest
from twinward.backup.create import make_backup
from twinward.core.config import JOURNAL_FILE
from twinward.core.vocabulary import Action, Category, Purpose, TwinId
from twinward.node import Node, open_node
from twinward_ledger.stores.sqlite import SqliteLogStore

WHY = "unconscious in the ambulance"


def emergencies_while_the_log_is_down(node: Node, twin: TwinId, count: int) -> None:
    store = node.log.store
    assert isinstance(store, SqliteLogStore)
    store._writer.execute("PRAGMA query_only = ON")
    try:
        for _ in range(count):
            request = AccessRequest(CLINICIAN, Action.READ, Purpose.EMERGENCY, twin, frozenset(Category), WHY)
            assert node.access.decide(request).log_index < 0
    finally:
        store._writer.execute("PRAGMA query_only = OFF")


def restored(site: Site, backup: Path, home: Path) -> Path:
    assert asked("node", "restore", backup, "--home", home, "--keys-from", site.home)["done"]
    asked("node", "activate", "--yes", "--home", home)
    return home


def emergencies_logged(home: Path) -> int:
    events = asked("audit", "list", "--as", "olga", "--home", home)["events"]
    return len([one for one in events if one["action"] == "read" and one["detail"].get("justification") == WHY])


def test_an_emergency_that_waits_is_replayed_once_where_the_backup_is_restored(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "waiting.twbackup"
    with site.opened() as node:
        emergencies_while_the_log_is_down(node, site.twins[0], 2)
        left_out = site.asked("node", "backup", to)["left_out"]
    assert not [name for name in left_out if name.startswith(JOURNAL_FILE)]
    fresh = restored(site, to, tmp_path / "fresh")
    assert stat.S_IMODE((fresh / JOURNAL_FILE).stat().st_mode) == 0o600
    for waiting in (3, 0):  # the emergency's start, and two reads
        with open_node(fresh) as node:
            assert node.audit.status().journal.waiting == waiting
            node.audit.checkpoint_and_anchor()
            assert node.audit.status().journal.waiting == 0
            node.audit.verify(deep=True)
        assert emergencies_logged(fresh) == 2


def test_the_journal_is_of_the_same_moment_as_the_log(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "moment.twbackup"
    with site.opened() as node:
        emergencies_while_the_log_is_down(node, site.twins[0], 2)

        def log_is_back(*_: object) -> None:
            node.audit.checkpoint_and_anchor()  # writers go on while databases are copied: the journal is emptied

        make_backup(node.settings, node.identity, node.clock, to, log_is_back)
        assert node.audit.status().journal.waiting == 0
    fresh = restored(site, to, tmp_path / "fresh")
    with open_node(fresh) as node:
        node.audit.checkpoint_and_anchor()
    assert emergencies_logged(fresh) == 2


def test_what_is_in_log_and_journal_alike_is_not_logged_twice(site: Site, tmp_path: Path) -> None:
    to, journal = tmp_path / "both.twbackup", site.home / JOURNAL_FILE
    with site.opened() as node:
        emergencies_while_the_log_is_down(node, site.twins[0], 2)
        before = journal.read_bytes()
        node.audit.checkpoint_and_anchor()
    journal.write_bytes(before + b"half a rec")  # as after a crash between the log and the journal, and in a write
    site.asked("node", "backup", to)
    fresh = restored(site, to, tmp_path / "fresh")
    with open_node(fresh) as node:
        assert node.audit.status().journal.waiting == 3
        node.audit.checkpoint_and_anchor()
        journaled = node.audit.status().journal
        assert (journaled.waiting, journaled.evidence) == (0, ())
    assert emergencies_logged(fresh) == 2


def test_what_waits_in_the_home_that_is_replaced_comes_into_the_restored_log(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "before.twbackup"
    with site.opened() as node:
        emergencies_while_the_log_is_down(node, site.twins[0], 1)
        site.asked("node", "backup", to)
        emergencies_while_the_log_is_down(node, site.twins[0], 2)
    site.asked("node", "restore", to, "--replace", "--dry-run")
    assert site.asked("node", "restore", to, "--replace", "--yes")["done"]
    with site.opened() as node:
        node.audit.checkpoint_and_anchor()
        node.audit.verify(deep=True)
    assert emergencies_logged(site.home) == 3
    assert not list(site.home.glob("replaced*"))


def test_a_backup_without_emergencies_has_no_journal(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "calm.twbackup"
    site.asked("node", "backup", to)
    assert not (restored(site, to, tmp_path / "fresh") / JOURNAL_FILE).exists()
