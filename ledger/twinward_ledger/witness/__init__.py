"""Witnesses: who cosigns a log after checking that it only grew, over HTTP or in this process, and who asks them."""
