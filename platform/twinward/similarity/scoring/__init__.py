"""How a cohort is scored: one engine a mode, over shards in processes of this machine or on a Ray cluster.

``engines`` and ``matrix`` are the way in; ``placement`` is the hospital's choice of who scores.
"""
