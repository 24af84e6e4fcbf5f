"""The services: each a few jobs and routes over the same store."""
