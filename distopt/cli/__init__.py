"""The command distopt, one file a command."""

LISTED = ("compressors", "algorithms", "costs", "topologies")  # by ``distopt list``
DIMENSION = 1000  # at which it describes compressors
