"""From a log to its anchor: the checkpoint sent to a contract, and what hospitals sign for the contracts."""
