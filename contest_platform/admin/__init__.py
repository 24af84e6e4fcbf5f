"""The admin endpoints: what ops reads, and what ops may have done in a step of a runbook."""
