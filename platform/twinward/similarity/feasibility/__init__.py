"""Feasibility counts: how many patients of a cohort meet criteria that the hospital never sees.

The protocol and its proof: ``twinward_crypto.feasibility``. Here: processes that compute it (``engine``), the epsilon
that counts spend (``budget``), and the order of things for one question (``service``).
"""
