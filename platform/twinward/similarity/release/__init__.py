"""What of a result leaves, how, and what each vendor was told before. ``service`` is the way in."""
