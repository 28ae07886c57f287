"""What is signed and committed to, byte for byte: leaves, notes, checkpoints, cosignatures, policies, anchors."""
