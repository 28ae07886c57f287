"""Many resources at once: files, pipes and NDJSON in, $export out, and made-up patients for demonstrations."""
