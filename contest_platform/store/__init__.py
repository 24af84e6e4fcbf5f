"""The store: one schema, and transactions that are plain functions."""
