"""``twinward vendor`` and ``twinward disclosure``: asking hospitals, and what they hand out."""
