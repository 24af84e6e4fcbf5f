"""The run directory: what was planned, what happened, and each party's own books. Knows nothing of who wrote it."""
