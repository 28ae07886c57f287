"""Which hospital's numbers ruin sums that nobody sees the parts of: told from many sums over changing groups."""
