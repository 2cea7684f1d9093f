"""Frames: decoding what users pass to ``predict``, and the pixel contract that turns it into network input."""
