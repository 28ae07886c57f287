"""Starting Python processes that take no code from the folder that somebody happens to stand in.

``multiprocessing`` starts its processes, and the servers that fork them, with ``python -c``: the first place of their
``sys.path`` is the working directory, so a ``secrets.py`` there runs in the process that is given keys and features.
Others may write to a folder such as ``/tmp``, and a node may be started in one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SAFE_PATH: Final = "PYTHONSAFEPATH"
"""As ``python -P``: https://docs.python.org/3/using/cmdline.html#envvar-PYTHONSAFEPATH."""
_one_at_a_time: Final = threading.Lock()


@contextmanager
def without_working_directory() -> Iterator[None]:
    """A Python process that is started within it looks for modules where this one's packages are, and nowhere else."""
    with _one_at_a_time:
        before = os.environ.get(SAFE_PATH)
        os.environ[SAFE_PATH] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[SAFE_PATH]
            else:
                os.environ[SAFE_PATH] = before
