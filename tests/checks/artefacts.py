"""Recompiles the contracts and compares them with what is committed: python -m tests.checks.artefacts.

Prints what differs and exits 1. Needs node and ``npm ci`` in contracts/; running the contracts needs neither.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"


def main(contracts: Path = CONTRACTS) -> int:
    """0 if fresh; 1, with what differs on stderr, if not or if it can't be told."""
    node = shutil.which("node")
    if node is None or not (contracts / "node_modules" / "solc").is_dir():
        sys.stderr.write("contract artefacts can't be checked: install node, then run npm ci in contracts/\n")
        return 1
    done = subprocess.run([node, "build.mjs", "--check"], cwd=contracts, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        sys.stderr.write("contract artefacts are stale: run npm run build in contracts/ and commit the result\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
