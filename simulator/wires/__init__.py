"""The wires: what lies between the platform's ports and the actors. Latency and faults act here and nowhere else."""
