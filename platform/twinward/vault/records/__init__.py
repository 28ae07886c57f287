"""One record: what is inside its envelope, how it is sealed, found and opened."""
