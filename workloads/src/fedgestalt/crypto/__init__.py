"""Cryptographic primitives, one small file each. Nothing here knows a message, a board or a model."""
