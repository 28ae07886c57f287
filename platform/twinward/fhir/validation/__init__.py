"""Whether a resource keeps the rules of FHIR R4: structure, cardinality, values, required bindings, invariants."""
