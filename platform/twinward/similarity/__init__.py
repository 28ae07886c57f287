"""Similarity: cohorts of consenting twins, encrypted queries over them, and the policy of what is released."""
