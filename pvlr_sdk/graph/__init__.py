"""Rewrites an exported ONNX network: another precision, fused attention. Imports the package onnx when it is used.

TensorRT 11 takes the precision of a network from its graph alone, and TensorRT 10 can be asked to: so precision is
written into the graph here, as casts and as pairs of QuantizeLinear and DequantizeLinear, once for all versions.
"""

from .check import check
from .convert import ATTENTIONS, PRECISIONS, convert
from .export import export_as

__all__ = ["ATTENTIONS", "PRECISIONS", "check", "convert", "export_as"]
