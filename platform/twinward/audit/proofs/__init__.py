"""What is proven of the log: to its own node, to patients and auditors."""
