"""What an operator works with: alert rules and their evaluation, and runbooks. Nothing here knows the platform."""
