"""The cases that both TensorRT sessions must pass, each on its own fake of TensorRT and CUDA."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """``cpp``: a case of ``csrc/runtime/tensorrt_runner.cpp``; ``python``: a test in ``pvlr_sdk/backends/tensorrt``.

    None: the other session has nothing of this kind.
    """

    cpp: str | None
    python: str | None


CASES = (
    Case("contexts_and_graphs", "test_the_graph_replaces_the_launches"),
    Case("without_graphs", "test_without_a_graph_it_runs_all_the_same"),
    Case("batches", "test_batches_form_while_the_gpu_is_busy"),
    Case("batches", "test_a_batch_is_downloaded_at_once_and_read_later"),
    Case("device_frames", "test_the_gpu_waits_for_the_producer_and_not_the_caller"),
    Case("without_maps", "test_without_maps_the_plan_has_one_output"),
    Case("profiles", "test_the_profile_fits_the_batch"),
    Case("profile_of_its_own", "test_one_context_is_enough_if_another_is_refused_the_profile"),
    Case("out_of_memory_at_open", "test_a_load_that_fails_leaves_nothing_on_the_gpu"),
    Case("out_of_memory_at_launch", "test_a_launch_that_fails_half_way_leaves_nothing_in_flight"),
    Case(
        "out_of_memory_at_enqueue", "test_a_plan_that_fails_for_days_remembers_the_newest_messages"
    ),
    Case("lost_context", "test_after_a_lost_context_no_plan_runs_in_the_process"),
    Case("lost_context_at_open", "test_a_context_that_tensorrt_loses_is_noticed"),
    Case("lost_context_in_capture", "test_a_context_that_tensorrt_loses_is_noticed"),
    Case("lost_context_in_threads", "test_a_lost_context_ends_every_thread_s_call"),
    Case("allocations", None),  # of host memory
    Case("allocations_without_graphs", None),
    Case("other_device", None),  # Python pushes the primary context
    Case("other_context", None),
    Case("timeouts", None),
    Case(None, "test_a_batch_is_preprocessed_in_one_launch"),  # C++ has one launch function only
    Case(None, "test_the_network_alone_is_timed_while_nothing_else_runs"),
)
