"""Training of PVLR models in PyTorch: model, prompts, data, losses, evaluation and export.

Installed as ``pvlr_training`` by the extra ``[train]``; nothing in ``pvlr_sdk`` needs it on the device.
"""
