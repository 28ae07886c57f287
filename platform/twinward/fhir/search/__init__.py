"""FHIR search: parameters, chains and includes, conditions that name one resource, and what a page shows."""
