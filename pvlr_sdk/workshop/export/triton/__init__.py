"""Writes a plan as a model repository for NVIDIA Triton Inference Server."""

from .repository import export_triton

__all__ = ["export_triton"]
