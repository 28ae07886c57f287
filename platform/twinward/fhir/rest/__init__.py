"""FHIR's RESTful interactions without HTTP: read, write, history, $everything, batch, transaction, capabilities."""
