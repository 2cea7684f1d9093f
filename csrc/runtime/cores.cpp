#include "cores.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

namespace pvlr::runtime {
namespace {

namespace fs = std::filesystem;

// The cgroup v2 of this process, relative to the root; empty without one.
std::string own_group(const fs::path& membership) {
  std::ifstream file(membership);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, 3, "0::") == 0) return line.substr(3);
  }
  return {};
}

// Cores that a cgroup allows; infinity without a limit.
double quota_of(const fs::path& folder) {
  std::ifstream file(folder / "cpu.max");
  double limit = 0;
  double period = 0;
  if (file >> limit >> period && period > 0) return limit / period;
  return std::numeric_limits<double>::infinity();  // no controller here, or "max"
}

}  // namespace

int available_cores(const fs::path& root, const fs::path& membership) {
  cpu_set_t affinity;
  const bool known = sched_getaffinity(0, sizeof affinity, &affinity) == 0;
  double cores = known ? CPU_COUNT(&affinity) : static_cast<double>(std::thread::hardware_concurrency());
  const std::string group = own_group(membership);
  if (!group.empty()) {
    cores = std::min(cores, quota_of(root));
    fs::path folder = root;
    for (const fs::path& part : fs::path(group).relative_path()) cores = std::min(cores, quota_of(folder /= part));
  }
  return std::max(1, static_cast<int>(cores));
}

}  // namespace pvlr::runtime
