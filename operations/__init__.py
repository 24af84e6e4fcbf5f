"""What ops works with: alert rules and their evaluation, runbooks, the operator.

Invariant: nothing in here imports the platform, the simulator or the evidence; whoever wires them hands data in.
"""
