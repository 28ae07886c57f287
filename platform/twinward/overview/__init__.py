"""How a node stands, computed once for officers and operators; console, command line and API render it.

``status``: the log, its witnesses, emergencies, the consortium. ``external_use``: what vendors asked and studies spent,
and the models they registered. ``log``: events and proofs for whoever examines the log.
"""
