"""The path of a frame through an engine, and the plan that the engine runs."""

from .options import Options
from .plan import LoadedPlan

__all__ = ["LoadedPlan", "Options"]
