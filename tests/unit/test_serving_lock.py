"""One server a home, and a command that waits for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from twinward.core.errors import Conflict
from twinward.node.home import LOCK_FILE, await_followed, is_served, moment, require_not_served, serving

HOLD = """
import sys
from pathlib import Path
from twinward.node.home import moment, serving
with serving(Path(sys.argv[1])) as held:
    print("held", flush=True)
    for line in sys.stdin:
        held.followed(moment())
        print("followed", flush=True)
"""


@contextmanager
def server(home: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_command_waits_until_the_server_has_followed_and_for_nobody_else(tmp_path: Path) -> None:
    assert await_followed(tmp_path, moment())  # never served
    with server(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        done = moment()
        assert not await_followed(tmp_path, done, within_s=0.1)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "followed\n"
        assert await_followed(tmp_path, done)
        assert not await_followed(tmp_path, moment(), within_s=0.1)  # what came after its look is not followed yet
        with pytest.raises(Conflict, match=f"process {process.pid}"):
            require_not_served(tmp_path)
    assert await_followed(tmp_path, moment())  # killed


def test_what_stands_in_the_file_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(b"\xff" * 100)
    assert await_followed(tmp_path, moment())
    with serving(tmp_path):
        assert (tmp_path / LOCK_FILE).read_bytes().split()[1] == b"0"


def test_who_only_looks_keeps_no_server_out_and_is_taken_for_none(tmp_path: Path) -> None:
    look = "import sys\nfrom pathlib import Path\nfrom twinward.node.home import require_not_served\n"
    look += "print('looking', flush=True)\nfor _ in range(4000): require_not_served(Path(sys.argv[1]))\n"
    with serving(tmp_path):
        pass  # the file is there from now on
    command = [sys.executable, "-c", look, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as looking:
        assert looking.stdout is not None
        assert looking.stdout.readline() == "looking\n"
        while looking.poll() is None:
            require_not_served(tmp_path)  # two who look do not see each other
    assert looking.returncode == 0


def test_a_server_that_looks_at_itself_knows_that_it_runs_and_goes_on_holding_its_home(tmp_path: Path) -> None:
    """A POSIX lock is gone once its process closes the file, whoever opened it: the page Node looked, and let go."""
    other = "import sys\nfrom pathlib import Path\nfrom twinward.node.home import is_served\n"
    other += "print(is_served(Path(sys.argv[1])))\n"

    def seen_by_another() -> str:
        command = [sys.executable, "-c", other, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with serving(tmp_path):
        assert is_served(tmp_path)
        with pytest.raises(Conflict, match="by this process"):
            require_not_served(tmp_path)
        with pytest.raises(Conflict, match="by this process"), serving(tmp_path):
            pass
        assert seen_by_another() == "True"
    assert not is_served(tmp_path)
    assert seen_by_another() == "False"
