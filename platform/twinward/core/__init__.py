"""What every room stands on: errors, clock, settings, the domain words, private files, HTTP rules as pure functions."""
