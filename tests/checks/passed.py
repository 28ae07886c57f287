"""Whether ``make test`` passed on exactly these files, so that ``make test-all`` need not run it again.

    python -m tests.checks.passed begin   before the tests: remembers the files as they are
    python -m tests.checks.passed end     after they passed: notes it, if the files are still those
    python -m tests.checks.passed         0 if they passed on the files that are here now; 1 if not

What counts: every file that git tracks or would add, the interpreter, what is installed, and whether a missing tool is
a failure (``TWINWARD_TEST_REQUIRE_ALL``). Outside a git checkout nothing can be told, and the tests run again.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BEGUN, PASSED = (Path(sys.prefix) / name for name in (".tests-begun", ".tests-passed"))


@cache
def _installed() -> tuple[str, ...]:
    return tuple(sorted(f"{one.name}=={one.version}" for one in distributions()))


def state(root: Path = ROOT) -> str:
    """A digest of what the tests' outcome depends on; empty if it can't be told."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0 or not listed.stdout:
        return ""
    digest = hashlib.sha256()
    for said in (sys.version, *_installed(), os.environ.get("TWINWARD_TEST_REQUIRE_ALL", "")):
        digest.update(said.encode() + b"\0")
    for name in sorted(set(listed.stdout.split(b"\0")) - {b""}):
        path = root / os.fsdecode(name)
        digest.update(name + b"\0" + hashlib.sha256(_content(path)).digest())
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    return path.read_bytes() if path.is_file() else b"gone"


def main(verb: str = "") -> int:
    """See above."""
    now = state()
    if verb == "begin":
        PASSED.unlink(missing_ok=True)
        BEGUN.write_text(now, encoding="ascii")
        return 0
    noted = BEGUN if verb == "end" else PASSED
    held = bool(now) and noted.is_file() and noted.read_text(encoding="ascii") == now
    if verb == "end":
        if held:
            BEGUN.replace(PASSED)
        return 0
    if held:
        sys.stdout.write("make test passed on these very files; its tests are not run again (make test does)\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
