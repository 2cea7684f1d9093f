"""The path of a frame through an engine, and the plan that the engine runs."""

from .inference import Request
from .plan import LoadedPlan, Options
from .predictor import Predictor

__all__ = ["LoadedPlan", "Options", "Predictor", "Request"]
