"""Topic-based subscriptions: HL7's Subscriptions R5 Backport (STU 1.1) as R4 has it, told over the event stream."""
