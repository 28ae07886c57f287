"""Examining accesses: which of them care explains, which should be looked at first, and what officers found.

``care``: what care data say of who treats whom. ``explanations``: why an access is one that care explains (Fabbri and
LeFevre, "Explanation-based auditing", PVLDB 5(1), 2011). ``risk``: the rest, ranked. ``sampling``: a sample beside it.
``register``: findings, folded from the log. ``service``: a day's review.
"""
