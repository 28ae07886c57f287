"""Where a log's entries, nodes and checkpoints are kept. One file per backend."""
