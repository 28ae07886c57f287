"""A patient's records for somebody outside: decided, logged as an export, sealed to the recipient's key."""
