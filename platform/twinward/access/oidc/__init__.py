"""Signing in by the hospital's own OpenID provider: what it is asked, what of it is believed, whose account that is."""
