"""How good a detector is, on stays that cost nobody privacy, and the card that says so."""
