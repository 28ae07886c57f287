"""Twins of things: devices, beds, wards, hospitals and stock; how they stand to patients and to each other."""
