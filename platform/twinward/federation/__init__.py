"""Federation: anomaly detectors trained across hospitals under patient-level differential privacy."""
