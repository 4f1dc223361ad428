"""Decentralized optimization over MPI with really compressed messages."""
