"""Several connections and processes on one log file: none of them may take another's locks away.

POSIX drops all of a process's locks on a file when it closes *any* descriptor of it (sqlite.org/howtocorrupt.html,
section 2.2). Opening a second store in one process must therefore not open and close the file by itself: another
process would then think that it is alone, fold the write-ahead log away and leave the first store with a stale one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore

VISITOR = """
import sys
from pathlib import Path
from twinward_ledger.formats.leaf import Leaf, LeafKind
from twinward_ledger.log.store import Entry
from twinward_ledger.stores.sqlite import SqliteLogStore
for _ in sys.stdin:
    store = SqliteLogStore(Path(sys.argv[1]))
    store.append([Entry(Leaf(LeafKind.NODE, n, bytes(32)).encode(), b"visitor", ()) for n in range(200)])
    store.close()
    print("left", flush=True)
"""


def entries(count: int) -> list[Entry]:
    return [Entry(Leaf(LeafKind.NODE, n, bytes([1]) * 32).encode(), b"mine", ()) for n in range(count)]


@contextmanager
def visitor(path: Path) -> Iterator[Callable[[], None]]:
    """Another process, which opens the file, writes and closes it each time it is asked to."""
    command = [sys.executable, "-c", VISITOR, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, told = process.stdin, process.stdout

        def visit() -> None:
            asked.write("come\n")
            asked.flush()
            assert told.readline() == "left\n"

        yield visit


def test_a_second_store_in_this_process_costs_the_first_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    first = SqliteLogStore(path)
    first.append(entries(50))
    with visitor(path) as visit:
        for _ in range(3):
            SqliteLogStore(path)  # stays open: SQLite itself closes no descriptor now
            visit()
            first.append(entries(50))
            visit()
    assert first.size() == 50 + 3 * (200 + 50 + 200)
    assert len(list(first.leaves(0, first.size()))) == first.size()
    first.close()
    again = SqliteLogStore(path)
    assert again.size() == 1400
