"""Unfolded networks with a smooth soft-threshold as local costs (docs: networks)."""
