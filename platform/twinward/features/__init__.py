"""What a patient is described by: the schema of features, units, measurements, and what is derived from them."""
