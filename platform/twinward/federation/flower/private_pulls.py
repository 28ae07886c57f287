"""Flower's pulls of a message's objects, shortened: it looks again after a second and more, for two hours.

What a SuperLink was killed with never comes; whoever waited for it two hours would answer nobody meanwhile. Of flwr
1.42.0 this uses what is not public: the defaults of ``pull_objects``. ``CONTRACT`` says so; a test holds its source
against what was read.
"""

from __future__ import annotations

from typing import Final

from flwr.supercore.inflatable import inflatable_utils

CONTRACT: Final = (inflatable_utils.pull_objects,)
LOOK_EVERY_S: Final = 0.05
GIVEN_UP_S: Final = 30.0


def shorten_pulls() -> None:
    """Look for a message's objects again after 50 ms, and for half a minute at most: then ``ObjectPullError``."""
    defaults = inflatable_utils.pull_objects.__kwdefaults__
    shorter = {"initial_backoff": LOOK_EVERY_S, "max_time": GIVEN_UP_S}
    if defaults is None or not defaults.keys() >= shorter.keys():
        raise RuntimeError("this flwr pulls objects another way; see the contract test")
    defaults.update(shorter)
