"""The fakes as an installed TensorRT: a ``tensorrt.py`` that imports this module is all that a process needs.

The GPU has the preprocessing kernel and, for plans without our layers, the plugin library.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fake_cuda
import fake_tensorrt

from pvlr_sdk.backends.tensorrt import backend, driver, plugins
from tests.pvlr_sdk.backends.tensorrt.test_preprocessing import FakeKernel

fake_tensorrt.world.cuda = driver._open["cuda"] = fake_cuda.FakeCuda()
backend.open_pixels = lambda spec: FakeKernel(spec, fake_tensorrt.world.cuda)
plugins.find = lambda *_: "1"
sys.modules["tensorrt"] = fake_tensorrt
