"""What a patient is described by: the schema of features, units and their spellings, hours of a monitored stay."""
