"""The same platform against real time and sockets. Not part of this release beyond its runtime."""
