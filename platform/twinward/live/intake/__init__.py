"""From lines of any source to what is committed."""
