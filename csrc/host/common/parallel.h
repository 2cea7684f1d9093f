// Splits a range over threads that live for the call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "host/common/float_types.h"
#include "pvlr/common.h"

namespace pvlr {

// Calls function(begin, end) for parts of [0, count) of about the same size, at most one per thread, the first on the
// calling one. The function returns whether it succeeded and must not throw; the result is whether all parts did. If
// the system cannot start another thread, the calling one does more.
template <typename Function>
bool for_ranges(std::int64_t count, std::int64_t threads, const Function& function) {
  const std::int64_t parts = std::max<std::int64_t>(1, std::min(count, threads));
  if (parts == 1) return function(0, count);  // which allocates nothing
  const auto begin = [count, parts](std::int64_t part) { return count * part / parts; };
  std::vector<char> succeeded(static_cast<std::size_t>(parts));
  std::vector<std::thread> workers;
  workers.reserve(static_cast<std::size_t>(parts - 1));
  std::int64_t started = 1;
  try {
    for (; started < parts; ++started) {
      workers.emplace_back(
          [&, part = started] { succeeded[static_cast<std::size_t>(part)] = function(begin(part), begin(part + 1)); });
    }
  } catch (const std::system_error&) {
    std::fill(succeeded.begin() + started, succeeded.end(), function(begin(started), count));
  }
  succeeded[0] = function(begin(0), begin(1));
  for (std::thread& worker : workers) worker.join();
  return std::find(succeeded.begin(), succeeded.end(), 0) == succeeded.end();
}

// Calls function(a value of the element type, begin, end), which may run out of memory; `message` is for that case.
template <typename Function>
Status run_typed(DataType type, std::int64_t count, std::int64_t threads, const char* message,
                 const Function& function) {
  const auto run = [type, &function](std::int64_t begin, std::int64_t end) {
    try {
      if (type == DataType::kFloat32) {
        function(float{}, begin, end);
      } else if (type == DataType::kFloat16) {
        function(Half{}, begin, end);
      } else {
        function(Bfloat16{}, begin, end);
      }
    } catch (const std::bad_alloc&) {
      return false;
    }
    return true;
  };
  return for_ranges(count, threads, run) ? Status{} : Status{StatusCode::kLaunchFailed, message};
}

}  // namespace pvlr
