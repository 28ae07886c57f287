"""What a study promises each patient, what that costs, and the noise that keeps the promise."""
