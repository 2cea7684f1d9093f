"""The cases that both TensorRT sessions must pass, each on its own fake of TensorRT and CUDA.

C++: a case of ``csrc/runtime/tensorrt_runner.cpp``. Python: a test in ``pvlr_sdk/backends/tensorrt``; None: the case is
about C++ only.
"""

from __future__ import annotations

CASES: dict[str, str | None] = {
    # C++                         Python
    "contexts_and_graphs": "test_the_graph_replaces_the_launches",
    "without_graphs": "test_without_a_graph_it_runs_all_the_same",
    "batches": "test_batches_form_while_the_gpu_is_busy",
    "profiles": "test_the_profile_fits_the_batch",
    "profile_of_its_own": "test_one_context_is_enough_if_another_is_refused_the_profile",
    "out_of_memory_at_open": "test_a_load_that_fails_leaves_nothing_on_the_gpu",
    "out_of_memory_at_launch": "test_a_launch_that_fails_half_way_leaves_nothing_in_flight",
    "out_of_memory_at_enqueue": "test_an_inference_that_tensorrt_refuses",
    "lost_context": "test_after_a_lost_context_no_plan_runs_in_the_process",
    "lost_context_at_open": "test_a_context_that_tensorrt_loses_is_noticed",
    "lost_context_in_capture": "test_a_context_that_tensorrt_loses_is_noticed",
    "lost_context_in_threads": "test_a_lost_context_ends_every_thread_s_call",
    "allocations": None,  # of host memory
    "allocations_without_graphs": None,
    "other_device": None,  # Python pushes the primary context
    "other_context": None,
    "timeouts": None,
}
