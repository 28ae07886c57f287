"""Backups of a whole node, taken while it runs, and bringing one back.

One file holds everything but the keys (``twinward.backup.archive`` says how it is laid out). All databases are frozen
for some milliseconds, so that the backup is one moment of the node: what a power cut at that moment would have left.
The key service is never in it: an old backup and an old key together would bring back whom the hospital has erased.
"""
