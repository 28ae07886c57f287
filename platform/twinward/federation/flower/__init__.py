"""Studies over Flower's network, which carries signed messages between a coordinator's sockets and hospitals' daemons.

Runs in an environment of its own (extra ``flower``): no vault, no torch, no node. Nothing here is believed by either
side. ``private_runner`` and ``private_waits`` are the two files that touch what Flower does not promise to keep; a test
fails when Flower changes it.
"""
