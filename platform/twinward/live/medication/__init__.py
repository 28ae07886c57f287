"""Medication that is due, and was not given: plans, doses, reminders."""
