"""The state that tests change: the GPU, and the failures."""

from __future__ import annotations

from types import SimpleNamespace

MAGIC = b"FAKEPLAN"
world = SimpleNamespace(
    cuda=None,  # the FakeCuda to run on
    logger=None,  # the first one of the process, which gets what TensorRT does not log for one engine
    start_error=None,  # logged before TensorRT returns neither builder nor runtime
    timings_refused=None,  # "create" or "set": where TensorRT refuses a timing cache that is not empty
    contexts=100,  # contexts that fit into memory
    build_error=None,  # logged before the builder returns no plan
    profiles=1,  # optimisation profiles of a plan
    enqueue_loses=None,  # "capture" or "run": the inference that loses the context, of which TensorRT only says False
    profile_error=None,  # logged before a second context is refused the profile of the first
    enqueue_error=None,  # logged before an inference fails
    capture_error=None,  # the CUDA code that enqueueing in a capture causes
    dla_cores=0,
    dla_layers=True,  # whether the DLA can run layers
    phases=[("Building", 2), ("Timing", 3)],
    during_build=lambda: None,
    layers=[{"Name": "Conv + Add"}, "Reformatting CopyNode"],  # in the inspector's words
    plugin_error=False,
    loaded=[],  # plugin libraries
    seen=SimpleNamespace(),  # the last config, profile, parser
)
