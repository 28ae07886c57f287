"""``twinward witness``: co-signing other hospitals' logs."""
