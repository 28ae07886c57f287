"""Compiled kernels: the innermost loops of scoring, in numba. Each has a plain twin, which is its oracle and fallback.

Whoever computes asks ``store.load`` for a family; where it says None, the plain code runs: slower, with the same
answer. Kernels are whole loops over arrays that their callers allocated and measured: **no bounds are checked inside**,
so a caller checks every length and every index before the call, and nothing a stranger sent reaches one unread.

Compiling takes some seconds and is done ahead (``python -m twinward_crypto.kernels``: by ``make setup``, or by a node
that starts): never while somebody waits. Loading what was compiled takes some tenths of a second.
"""
