"""What every room stands on: errors, clock, settings, the domain's words, private files, HTTP's rules as pure functions."""
