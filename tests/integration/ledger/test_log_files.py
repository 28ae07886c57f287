"""The log as files, read whole by a client of our own over HTTP and from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from tests.command_line import PROGRAM
from tests.kept_homes import founded
from tests.tlog_client import number_path, read_log
from twinward.core.clock import FixedClock
from twinward.core.config import Settings
from twinward.demo.serving import served
from twinward.node import Node, create_node
from twinward_ledger.errors import NoSuchEntry
from twinward_ledger.formats.checkpoint import open_checkpoint
from twinward_ledger.formats.cosignature import cosign
from twinward_ledger.formats.note import NoteSigner
from twinward_ledger.formats.policy import QuorumPolicy
from twinward_ledger.log.heartbeat import heartbeat
from twinward_ledger.log.log import Log
from twinward_ledger.log.static_files import LogFiles, Tile, tiles_of
from twinward_ledger.stores.sqlite import SqliteLogStore

SIZE = 256 * 3 + 17
SIGNER = NoteSigner("log.example/files", b"\1" * 32)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = founded(tmp_path_factory.mktemp("files") / "home")
    grow(node.log, SIZE)
    node.audit.checkpoint_and_anchor()
    yield node
    node.close()


@pytest.fixture(scope="module")
def url(node: Node) -> Iterator[str]:
    with served(node) as found:
        yield f"{found}/log"


def grow(log: Log, count: int) -> None:
    log.append([heartbeat(number * 60_000, number) for number in range(count)])


def get(url: str, path: str) -> bytes:
    answer = httpx.get(f"{url}/{path}", trust_env=False)
    assert answer.status_code == 200, path
    return answer.content


def test_a_client_written_from_the_specification_reads_the_whole_log(node: Node, url: str) -> None:
    read = read_log(lambda path: get(url, path))
    checkpoint, _ = open_checkpoint(get(url, "checkpoint"), node.log.key)
    assert (read.origin, read.size, read.root) == (node.log.origin, checkpoint.size, checkpoint.root)
    assert read.size >= SIZE
    assert read.entries == list(node.log.store.leaves(0, read.size))


def test_types_and_caching_are_what_the_specification_wants(url: str) -> None:
    full, partial, bundle = f"tile/0/{number_path(0)}", "tile/1/000.p/3", "tile/entries/002"
    for path, kind, keeping in (
        ("checkpoint", "text/plain; charset=utf-8", "no-cache"),
        (full, "application/octet-stream", "public, max-age=31536000, immutable"),
        (bundle, "application/octet-stream", "public, max-age=31536000, immutable"),
        (partial, "application/octet-stream", "public, max-age=86400"),
    ):
        for ask in (httpx.get, httpx.head):
            answer = ask(f"{url}/{path}", trust_env=False)
            found = (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"])
            assert found == (200, kind, keeping)
            assert "authorization" not in answer.request.headers
    assert len(get(url, full)) == 8192


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/003",
        "tile/0/003.p/200",
        "tile/0/003.p/0",
        "tile/0/003.p/256",
        "tile/0/003.p/017",
        "tile/0/3",
        "tile/0/0003",
        "tile/0/x000/003",
        "tile/00/000",
        "tile/1/000",
        "tile/2/000.p/1",
        "tile/64/000",
        "tile/-1/000",
        "tile/entries/003",
        "tile/entries/x001/000",
        "tile/0/000/",
        "tile/0/000.p/",
        "tile/0/٠٠٠",
        "tile/0/x999/x999/x999/x999/x999/999",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_what_is_not_there_is_not_found(node: Node, url: str, path: str) -> None:
    assert httpx.get(f"{url}/{path}", trust_env=False).status_code == 404
    with pytest.raises(NoSuchEntry):
        node.log_files.read(path)


def test_the_exported_folder_is_what_is_served_byte_for_byte(node: Node, url: str, tmp_path: Path) -> None:
    target, home = tmp_path / "out", str(node.settings.home)
    command = ["audit", "tiles", "--out", str(target), "--home", home, "--json"]
    done = CliRunner().invoke(PROGRAM, command)
    assert done.exit_code == 0, done.output
    files = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    read = read_log(lambda path: (target / path).read_bytes())
    assert set(read.paths) == set(files)  # nothing a reader wants is missing, and nothing else is there
    for path, content in files.items():
        assert get(url, path) == content, path
    assert (target / "checkpoint").stat().st_mode & 0o777 == 0o644
    assert CliRunner().invoke(PROGRAM, command).exit_code == 0  # again: only what is new
    (target / "something-else").write_text("mine")
    assert CliRunner().invoke(PROGRAM, command).exit_code == 4


def test_only_what_a_quorum_cosigned_is_published(tmp_path: Path) -> None:
    witness = NoteSigner("w.example", b"\2" * 32)
    log = Log(SqliteLogStore(tmp_path / "log.db"), SIGNER)
    policy = QuorumPolicy.k_of(SIGNER.key, [witness.cosigner_key], 1)
    files = LogFiles(log, policy)
    with pytest.raises(NoSuchEntry):
        files.checkpoint()
    grow(log, 5)
    _, note = log.checkpoint()
    with pytest.raises(NoSuchEntry):
        files.read("tile/0/000.p/5")
    log.keep_cosignatures(note.with_signatures(cosign(note.text, 1, witness)))
    assert files.checkpoint()[0].size == 5
    grow(log, 5)
    log.checkpoint()
    for reader in (files, LogFiles(log, policy)):  # a process that starts now finds the older one, too
        assert reader.checkpoint()[0].size == 5
        assert len(reader.read("tile/0/000.p/5").content) == 5 * 32
        with pytest.raises(NoSuchEntry):
            reader.read("tile/0/000.p/10")
    log.store.close()


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65535, 65536, 65536 + 256, 70_000])
def test_the_tiles_of_a_size_are_those_of_the_specification(size: int) -> None:
    """E.g. 70,000: 273 full level-0 tiles, one of 112, one full level-1 tile, one of 17, and one level-2 tile of 1."""
    found = list(tiles_of(size))
    assert all(tile.within(size) and Tile.parse(tile.path) == tile for tile in found)
    counted = {level: sum(tile.width for tile in found if tile.level == level) for level in (None, 0, 1, 2, 3)}
    assert counted == {None: size, 0: size, 1: size // 256, 2: size // 65536, 3: 0}
    if size == 70_000:
        widths = [[tile.width for tile in found if tile.level == level] for level in (0, 1, 2)]
        assert widths == [[256] * 273 + [112], [256, 17], [1]]


def test_long_numbers_are_written_in_groups() -> None:
    assert Tile(3, 1234067).path == "tile/3/x001/x234/067"
    assert Tile(None, 5, 9).path == "tile/entries/005.p/9"


def test_a_hospital_may_keep_its_log_to_itself(tmp_path: Path) -> None:
    node = create_node(Settings.load(tmp_path / "home", publish_log=False))
    try:
        node.heartbeat()
        node.audit.checkpoint_and_anchor()
        with served(node) as found:
            assert httpx.get(f"{found}/log/checkpoint", trust_env=False).status_code == 404
            told = httpx.get(f"{found}/api/1/audit/checkpoint", trust_env=False)
            assert told.status_code == 401  # it would tell the log's size
    finally:
        node.close()


def test_a_heartbeat_stands_in_the_log_and_its_absence_is_named(tmp_path: Path) -> None:
    clock = FixedClock()
    home = tmp_path / "home"
    node = create_node(Settings.load(home, heartbeat_s=600), clock=clock)
    node.heartbeat()
    clock.advance(3_600_000)
    node.heartbeat()
    node.audit.checkpoint_and_anchor()
    node.audit.verify(deep=True)
    node.close()
    done = CliRunner().invoke(PROGRAM, ["audit", "gaps", "--home", str(home)])
    assert done.exit_code == 0, done.output
    first, second = done.output.strip().split("\n")
    assert "silent from 2026-01-01 00:00 UTC until 2026-01-01 01:00 UTC, after entry 0" in first
    assert "silent from 2026-01-01 01:00 UTC and is silent still" in second
