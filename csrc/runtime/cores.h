// What the affinity and the cgroups of this process leave it.
#pragma once

#include <filesystem>

namespace pvlr::runtime {

// Cores available to this process: its CPU affinity, limited by its cgroup v2 quota; at least 1. The counterpart of
// pvlr_sdk/_util/cores.py, so that an engine has as many threads here as there.
int available_cores(const std::filesystem::path& root = "/sys/fs/cgroup",
                    const std::filesystem::path& membership = "/proc/self/cgroup");

}  // namespace pvlr::runtime
