"""Twins: a patient's sealed records and what is derived from them. Knows nothing of FHIR."""
