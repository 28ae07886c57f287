"""Live twins: readings of devices in, exactly once in effect; sealed series kept; time series, rules and alerts out."""
