"""Erasing a person, or a category of what is known of them: decided, shredded, purged, and shown by a receipt."""
