"""What the server that forks scoring processes loads: the kernels, and what the processes run. Imported there by its
name (``child``); what is not loaded here, each new process would load by itself, a fifth of a second of it.

What is loaded here is kept out of the garbage collector's sight: it would write into every object's head, and so copy
into each process the pages that all of them share.
"""

from __future__ import annotations

import gc

import twinward.similarity.feasibility.worker
import twinward.similarity.scoring.engines  # noqa: F401
import twinward_crypto.kernels.loaded  # noqa: F401

gc.collect()
gc.freeze()
