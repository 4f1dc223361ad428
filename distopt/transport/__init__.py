"""Moving messages between agents."""
