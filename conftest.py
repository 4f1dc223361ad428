"""Where an extra is not installed, its room is not collected for doctests."""

from importlib.util import find_spec

collect_ignore = [f"distopt/{name}" for name in ("torch", "jax") if find_spec(name) is None]
