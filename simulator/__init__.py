"""Drives the platform and the world around it through virtual time."""
