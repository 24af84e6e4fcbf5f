"""The seams: the only places where chance and faults enter a run."""
