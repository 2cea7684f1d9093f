"""The path of a frame through an engine, and the plan that the engine runs."""

from .plan import LoadedPlan, Options

__all__ = ["LoadedPlan", "Options"]
