"""The contest platform: real application code that awaits only its ports and could be deployed as it stands."""
