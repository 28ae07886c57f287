"""A restored home says what it is until it is put to work, and touches nothing of the node that works."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from tests.integration.backup.site import Site, asked, build
from twinward.backup.errors import BackupDamaged
from twinward.backup.staging import settle
from twinward.core.config import FILE_NAME
from twinward.node import open_node
from twinward.node.restored_home import MARK
from twinward_contracts.bindings import BudgetLedger
from twinward_ledger.errors import ChainUnavailable


@pytest.fixture(scope="module")
def drill(_built: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A restored copy of a node, in a home of its own."""
    folder = tmp_path_factory.mktemp("drill")
    site = _built.copied_to(folder / "node")
    site.asked("node", "backup", folder / "monday.twbackup")
    home = folder / "drill"
    assert asked("node", "restore", folder / "monday.twbackup", "--keys-from", site.home, "--home", home)["done"]
    return Site(home, site.twins, site.plain)


def test_it_says_what_it_is_on_every_command(drill: Site) -> None:
    shown = drill.asked("node", "status")["restored"]
    assert (shown["tenant"], shown["backup"]) == ("st-anna", "monday.twbackup")
    done = CliRunner().invoke(PROGRAM, ["twin", "list", "--home", str(drill.home)])
    assert "restored" in done.stderr
    assert "not at work" in done.stderr
    assert done.stdout.split() == sorted(drill.twins)


def test_it_is_read_and_its_log_tells_of_it(drill: Site) -> None:
    before = drill.asked("node", "status")["log"]["size"]
    assert drill.asked("twin", "state", drill.twins[0], "--as", "dr-lee")
    assert drill.asked("node", "status")["log"]["size"] > before
    CliRunner().invoke(PROGRAM, ["audit", "verify", "--deep", "--home", str(drill.home)])


@pytest.mark.parametrize(
    "command",
    [
        ("node", "serve", "--port", "0"),
        ("audit", "checkpoint"),
        ("keys", "rotate", "--yes"),
        ("keys", "rotate", "--retire", "--yes"),
    ],
    ids=" ".join,
)
def test_what_only_the_working_node_may_do_is_refused(drill: Site, command: tuple[str, ...]) -> None:
    with drill.opened() as node:
        keks, anchored = node.identity.provider.versions(node.identity.tenant), node.audit.status().anchored_size
        checkpoints = node.log.store.checkpoint()
    done = CliRunner(env={"COLUMNS": "200"}).invoke(PROGRAM, [*command, "--home", str(drill.home)])
    assert done.exit_code == 4, done.output
    assert "node activate" in done.stderr
    with drill.opened() as node:
        assert node.identity.provider.versions(node.identity.tenant) == keks
        assert (node.audit.status().anchored_size, node.log.store.checkpoint()) == (anchored, checkpoints)


def test_nothing_is_sent_to_its_chain(drill: Site) -> None:
    add = ("node", "add-system", "beta", "--role", "vendor")
    assert drill.asked(*add, code=7)["error"]["message"]
    with drill.opened() as node:
        block = node.consortium.chain.block_number()
        with pytest.raises(ChainUnavailable, match="not at work"):
            BudgetLedger.deploy(node.consortium.chain, node.consortium.witness_set.address)
        with pytest.raises(ChainUnavailable, match="not at work"):
            node.consortium.budgets.grant_queries("acme", 5)
        assert node.consortium.chain.block_number() == block


def test_it_works_once_somebody_says_so_and_the_log_tells_of_it(drill: Site, tmp_path: Path) -> None:
    put = drill.copied_to(tmp_path / "put")
    assert put.asked("node", "activate", code=2)["error"]["kind"] == "BadInput"  # nobody there to say yes
    assert (put.home / MARK).exists()
    assert put.asked("node", "activate", "--yes")["tenant"] == "st-anna"
    assert put.asked("node", "status")["restored"] is None
    with put.opened() as node:
        assert node.audit.checkpoint_and_anchor().cosigned
    said = put.asked("audit", "list", "--as", "olga", "--action", "note")["events"]
    assert any("put to work" in one["reason"] for one in said)
    assert put.asked("node", "activate", "--yes", code=4)["error"]["message"].endswith("at work")


def test_a_backup_of_a_drill_does_not_mark_what_it_is_restored_over(drill: Site, tmp_path: Path) -> None:
    put = drill.copied_to(tmp_path / "put")
    put.asked("node", "backup", tmp_path / "again.twbackup")
    put.asked("node", "restore", tmp_path / "again.twbackup", "--replace", "--yes")
    assert put.asked("node", "status")["restored"] is None


def test_databases_that_the_environment_named_are_named_in_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    production, own = tmp_path / "production.db", tmp_path / "drill.db"
    site = build(tmp_path / "node", records=f"sqlite:{production}", keys=f"local:{tmp_path / 'node-keys'}")
    keys = tmp_path / "keys"
    site.asked("node", "backup", tmp_path / "a.twbackup", "--keys-to", keys)
    (keys / "keys" / "master.key").write_bytes((tmp_path / "node-keys" / "master.key").read_bytes())
    (keys / "keys" / "master.key").chmod(0o600)
    for peer in site.home.glob("peers/*/keys/master.key"):
        (keys / peer.relative_to(site.home)).write_bytes(peer.read_bytes())
        (keys / peer.relative_to(site.home)).chmod(0o600)
    home = tmp_path / "drill"
    with monkeypatch.context() as shell:
        shell.setenv("TWINWARD_RECORDS", f"sqlite:{own}")
        restored = asked("node", "restore", tmp_path / "a.twbackup", "--keys-from", keys, "--home", home)
        assert restored["done"]
    before = hashlib.sha256(production.read_bytes()).digest()
    with open_node(home) as node:
        assert node.settings.records == f"sqlite:{own}"
        assert node.settings.keys_uri == f"local:{home / 'keys'}"  # not the working node's
        assert node.store.count() > 0
    aim = ("twin", "set-target", site.twins[0], "bmi", "--as", "dr-lee", "--value", "22", "--home", home)
    assert asked(*aim)["done"]
    assert hashlib.sha256(production.read_bytes()).digest() == before
    monkeypatch.setenv("TWINWARD_RECORDS", f"sqlite:{production}")
    told = asked(*aim, code=4)["error"]
    assert told["kind"] == "NotAtWork"
    assert told["hint"].startswith("unset TWINWARD_RECORDS")  # putting the drill to work would help nobody


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", {"log": "sqlite:/own"}),
        ('log = "sqlite:/theirs"\nhospital = "log = 1"\n', {"log": "sqlite:/own", "hospital": "log = 1"}),
        ('# log\nquorum = 2\nlog="sqlite:/theirs"  # why', {"quorum": 2, "log": "sqlite:/own"}),
        ('log = """\nsqlite:/theirs"""\n', {"log": "sqlite:/own"}),
        ("quorum = 2\n[limits]\nentries = 1", {"quorum": 2, "log": "sqlite:/own", "limits": {"entries": 1}}),
    ],
    ids=["none", "one", "the last", "over two lines", "before a table"],
)
def test_only_what_names_a_database_is_edited(tmp_path: Path, written: str, expected: dict[str, object]) -> None:
    import tomllib

    (tmp_path / FILE_NAME).write_text(written)
    settle(tmp_path, {"records": "", "log": "sqlite:/own"})
    text = (tmp_path / FILE_NAME).read_text()
    assert tomllib.loads(text) == expected
    assert ("# log" in written) == ("# log" in text)


@pytest.mark.parametrize("written", ['log = "a"\nlog = "b"\n', "log = \n", "[log\n"])
def test_settings_that_cannot_be_edited_stop_the_restore(tmp_path: Path, written: str) -> None:
    (tmp_path / FILE_NAME).write_text(written)
    with pytest.raises(BackupDamaged, match="cannot be changed to records, log"):
        settle(tmp_path, {"records": "", "log": "sqlite:/own"})
