"""HL7 v2 over MLLP: frames in, results and movements out, an acknowledgement for each message."""
