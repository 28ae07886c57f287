"""Audit: every access as an event in the tamper-evident log, and what an officer reads from it."""
