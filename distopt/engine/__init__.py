"""Running an algorithm: driver, recorder, checkpoint."""
