"""What the server that forks scoring processes loads, and nothing else: imported there by its name (``child``).

What is loaded here is kept out of the garbage collector's sight: it would write into every object's head, and so copy
into each process the pages that all of them share.
"""

from __future__ import annotations

import gc

import twinward_crypto.kernels.loaded  # noqa: F401

gc.collect()
gc.freeze()
