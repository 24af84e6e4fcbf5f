"""The way to a Windows host: connections that are not made, exchanges that go wrong, and quotas that are used up."""
