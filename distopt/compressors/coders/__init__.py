"""Codes as bits: packing, indices, universal codes, entropy coders."""
