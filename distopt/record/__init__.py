"""Records and checkpoints of a run: the only room that knows HDF5."""
