"""Flower's waits, shortened: a SuperNode sleeps 3 s between looks, 0.5 s for a reply, and 1 s for an object.

Of flwr 1.42.0 this uses what is not public: that ``start_client_internal`` waits by its module's ``time.sleep``, and
the default of ``pull_objects``. ``CONTRACT`` says which; a test holds their source against what was read.
"""

from __future__ import annotations

import sys
import time
import types
from typing import Final

from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supercore.inflatable import inflatable_utils
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import flower_supernode

CONTRACT: Final = (
    start_client_internal.start_client_internal,
    start_client_internal._push_messages,
    inflatable_utils.pull_objects,
    start_parent_process_monitor,
)
LOOK_EVERY_S: Final = 0.05
_BACKOFF: Final = "initial_backoff"


def shorten_pulls() -> None:
    """Look for a message's objects again after 50 ms instead of a second."""
    defaults = inflatable_utils.pull_objects.__kwdefaults__
    if defaults is None or _BACKOFF not in defaults:
        raise RuntimeError("this flwr pulls objects another way; see the contract test")
    defaults[_BACKOFF] = LOOK_EVERY_S


def run_supernode(parent: int) -> None:
    """``flower-supernode``, by the arguments of this process, with short waits; it ends with its parent."""
    shim = types.ModuleType("time")
    shim.__dict__.update(time.__dict__)
    shim.__dict__["sleep"] = lambda seconds: time.sleep(min(seconds, LOOK_EVERY_S))
    start_client_internal.__dict__["time"] = shim
    shorten_pulls()
    start_parent_process_monitor(parent)
    flower_supernode()


if __name__ == "__main__":
    run_supernode(int(sys.argv.pop(1)))
