"""Labelled images: data set formats, decoding, hold-out, augmentation, cached features.

This module and ``sources`` do not import torch, so that the report can choose images without it.
"""
