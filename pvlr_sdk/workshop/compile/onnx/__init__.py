"""Rewrites exported ONNX networks: precision and fused attention. Imports the package onnx on demand.

TensorRT 11 takes a network's precision from its graph alone, and TensorRT 10 has a flag for it. So precision is part of
the graph, as casts and as pairs of QuantizeLinear and DequantizeLinear, for all versions.
"""
