"""What an auditor is handed, and the checks of it, offline."""
