"""What HTTP itself means (RFC 9110), pure: header fields in, a verdict out. Routes are in ``api``."""
