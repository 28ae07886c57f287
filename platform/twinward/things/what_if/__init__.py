"""What-if: a ward's future under other numbers, simulated from how it stands now."""
