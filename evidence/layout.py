"""What things are called in a run directory, and beside the runs in their root."""

PLAN, JOURNAL, BOOK_DIRECTORY, MANIFEST = "plan.json", "journal.jsonl", "books", "manifest.json"
SNAPSHOTS, VERDICT, LOG = "snapshots.jsonl", "verdict.json", "log.jsonl"
RUNBOOKS, ALERTS = "runbooks", "alerts"
"""Directories with the documents that were in force during a run."""

DECISIONS, INCIDENTS = "decisions", "incidents"
"""Directories of a run root that hold records, not runs."""
