"""FHIR's JSON: decoded strictly, its faults named, its values read, and edited without touching other bytes."""
