"""Sums over hospitals of which nobody sees a part: masked, answered once, and refused where they cannot be."""
