"""``python -m twinward_crypto.kernels``: compile the kernels ahead. Exit codes: 0 they are ready, 1 they are not."""

from __future__ import annotations

import sys

from twinward_crypto.kernels.store import prepare


def main() -> int:
    """Compile, say where."""
    try:
        sys.stdout.write(f"kernels are ready in {prepare()}\n")
    except (ImportError, OSError) as error:
        sys.stderr.write(f"no kernels, so scoring is slower and answers the same: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
