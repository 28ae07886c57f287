"""Flower's waits, shortened: a SuperNode sleeps 3 s between looks, and 0.5 s for a reply.

Of flwr 1.42.0 this uses what is not public: that ``start_client_internal`` waits by its module's ``time.sleep``.
``CONTRACT`` says which; a test holds their source against what was read.
"""

from __future__ import annotations

import sys
import time
import types
from typing import Final

from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import flower_supernode

from twinward.federation.flower.private_pulls import shorten_pulls

_IDLE_S: Final = 0.1
"""Between looks for a message: each costs the SuperLink a write to its database, and these wait for one another."""
_REPLY_S: Final = 0.02
"""Between looks for the reply to one, in the SuperNode's own memory."""
_ASKING_S: Final = 1.0

CONTRACT: Final = (
    start_client_internal.start_client_internal,
    start_client_internal._push_messages,
    start_parent_process_monitor,
)


def run_supernode(parent: int) -> None:
    """``flower-supernode``, by the arguments of this process, with short waits; it ends with its parent."""
    shim = types.ModuleType("time")
    shim.__dict__.update(time.__dict__)
    shim.__dict__["sleep"] = lambda seconds: time.sleep(_IDLE_S if seconds > _ASKING_S else _REPLY_S)
    start_client_internal.__dict__["time"] = shim
    shorten_pulls()
    start_parent_process_monitor(parent)
    flower_supernode()


if __name__ == "__main__":
    run_supernode(int(sys.argv.pop(1)))
