"""The command line: wires the rooms together and decides nothing itself."""

__version__ = "0.1.0"
