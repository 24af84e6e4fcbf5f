"""Scenarios: YAML files, their schema, and the way from scenario and seed to a plan."""

from scenarios.errors import Located, ScenarioInvalid
from scenarios.load import load, of_values, shipped
from scenarios.model import Scenario
from scenarios.planner import make_plan

__all__ = ["Located", "Scenario", "ScenarioInvalid", "load", "make_plan", "of_values", "shipped"]
