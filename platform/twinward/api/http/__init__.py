"""What every request passes, whichever route it is for: the guard, who asks and why, conditions, bodies, forms."""
