"""Access: policy, consent and the permit without which nothing is opened."""
