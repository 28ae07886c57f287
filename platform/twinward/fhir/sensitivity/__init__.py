"""What a resource tells of that is read only with explicit consent: recognised by content, wherever it stands."""
