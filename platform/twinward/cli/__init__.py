"""The command line: thin faces that parse, call a service and print."""
