"""Costs: the private functions of the agents, and the families that make them (see `base`)."""
