"""The error of a scenario, feed or plan that cannot be used."""

from __future__ import annotations

from located import Invalid, Located, did_you_mean

__all__ = ["Located", "ScenarioInvalid", "did_you_mean"]


class ScenarioInvalid(Invalid):
    """A scenario or feed cannot be used; `errors` says everything that is wrong with it, in the order of the file."""
