"""Breaches of personal data: their cases, their clocks, whom they affect and what those are told."""
