"""Many versions of one twin and category, sealed together."""
