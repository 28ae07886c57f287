"""What hospitals agree on: who is a member, the contracts on the chain they share, each other's witnesses."""
