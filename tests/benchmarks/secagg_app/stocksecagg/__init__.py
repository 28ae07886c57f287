"""Flower's own SecAgg+ over vectors of zeros."""
