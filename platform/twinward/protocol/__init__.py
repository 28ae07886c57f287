"""The vendor API as both sides write and read it: messages, signed proofs, and parts that are sealed to a vendor.

A node and the vendor SDK (``twinward.client``) stand on this room and never on each other. It holds formats alone: no
connection, no file, no decision about what is answered or believed.
"""
