// Splits a range over threads that live for the call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

namespace pvlr {

// Calls function(begin, end) for parts of [0, count) of about the same size, at most one a thread, the first on the
// calling one. The function says whether it succeeded and must not throw; so does the result, for all parts. Where the
// system has no thread left, the calling one does more.
template <typename Function>
bool for_ranges(std::int64_t count, std::int64_t threads, const Function& function) {
  const std::int64_t parts = std::max<std::int64_t>(1, std::min(count, threads));
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

}  // namespace pvlr
