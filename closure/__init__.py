"""Whether an iteration may close: a policy's criteria and a baseline's figures, each held against the evidence of runs.

It reads run directories and nothing else, as the assertions do; it decides, and changes nothing.
"""
