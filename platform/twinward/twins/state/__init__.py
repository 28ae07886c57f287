"""A twin as its features stand: revisions, care targets, and whoever is told of a change."""
