"""The network that docs/model.md describes: backbone, text branch, dual-modal attention and heads.

This module and ``config`` do not import torch, so that a configuration can be read without it.
"""
