"""Configurations: TOML files, --set and Python tables, all through one model."""
