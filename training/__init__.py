"""Training of PVLR models in PyTorch, installed as ``pvlr_training`` by the extra ``[train]``.

``model/`` is the network, ``data/`` the labelled images, ``report/`` the page that compares runs; training, evaluation
and export are at the root. ``pvlr_sdk`` imports none of it at prediction time.
"""

from pvlr_sdk.backends import runtimes

runtimes.silence()  # PyTorch's exporter and onnxsim import ONNX Runtime by themselves
