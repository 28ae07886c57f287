"""From FHIR to the twin's records: resources named, filed by category, their measurements taken out."""
