"""Outbreaks seen together: differentially private daily counts, a detector on their sum, and a quorum's alerts."""
