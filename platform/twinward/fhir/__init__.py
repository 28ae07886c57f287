"""FHIR R4 at the boundary: bytes in, bytes out, and the mapping to twins. Nothing FHIR-shaped lives further in."""
