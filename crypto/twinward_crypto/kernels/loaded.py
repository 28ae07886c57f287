"""Importing this loads every family that is ready: for a process from which others are forked, which then have them."""

from twinward_crypto.kernels.store import FAMILIES, load

for _family in FAMILIES:
    load(_family)
