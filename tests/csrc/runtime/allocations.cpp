// Counts what pvlr_submit, pvlr_wait, pvlr_map and pvlr_release allocate in the calling thread: allocations PLAN
// [PLANT]. PLANT plants one.
//
// Allocations below a frame of OpenVINO or TBB on the stack are the engine's and counted separately.
#include <dlfcn.h>
#include <execinfo.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "pvlr/pvlr.hpp"

extern "C" void* __libc_malloc(std::size_t);
extern "C" void* __libc_calloc(std::size_t, std::size_t);
extern "C" void* __libc_realloc(void*, std::size_t);
extern "C" void* __libc_memalign(std::size_t, std::size_t);

namespace {

thread_local bool counting = false;
int own = 0;
int engine = 0;

void count() {
  if (!counting) return;
  counting = false;  // what follows may allocate
  void* addresses[64];
  const int depth = backtrace(addresses, 64);
  bool in_engine = false;
  for (int i = 0; i < depth; ++i) {
    Dl_info found{};
    if (dladdr(addresses[i], &found) == 0 || found.dli_fname == nullptr) continue;
    in_engine |=
        std::strstr(found.dli_fname, "libopenvino") != nullptr || std::strstr(found.dli_fname, "libtbb") != nullptr;
  }
  ++(in_engine ? engine : own);
  counting = true;
}

}  // namespace

extern "C" void* malloc(std::size_t size) {
  count();
  return __libc_malloc(size);
}
extern "C" void* calloc(std::size_t items, std::size_t size) {
  count();
  return __libc_calloc(items, size);
}
extern "C" void* realloc(void* old, std::size_t size) {
  count();
  return __libc_realloc(old, size);
}
extern "C" int posix_memalign(void** to, std::size_t alignment, std::size_t size) {
  count();
  *to = __libc_memalign(alignment, size);
  return *to == nullptr ? 12 : 0;
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) {
  count();
  return __libc_memalign(alignment, size);
}

int main(int argc, char** argv) {
  void* address = nullptr;
  backtrace(&address, 1);  // loads what it needs
  pvlr_tagger* tagger = nullptr;
  auto info = pvlr::make<pvlr_info>();
  pvlr::check(pvlr_open(argv[1], nullptr, &tagger));
  pvlr::check(pvlr_get_info(tagger, &info));
  std::vector<float> map(static_cast<std::size_t>(info.map_rows) * static_cast<std::size_t>(info.map_columns));
  const std::vector<unsigned char> pixels(3 * 320 * 240, 100);
  const pvlr_frame frame = pvlr::packed_frame(PVLR_FORMAT_BGR, 320, 240, pixels.data());
  for (int round = 0; round < 20; ++round) {
    pvlr_job* jobs[3] = {};
    auto result = pvlr::make<pvlr_result>();
    counting = round >= 2;  // warm
    for (pvlr_job*& job : jobs) pvlr::check(pvlr_submit(tagger, &frame, &job));
    for (pvlr_job* const job : jobs) {
      pvlr::check(pvlr_wait(job, &result));
      pvlr::check(pvlr_map(job, 0, map.data(), map.size()));
      pvlr_release(job);
    }
    if (argc > 2 && round == 10) std::free(std::malloc(1));  // shows that the counter counts
    counting = false;
  }
  pvlr_close(tagger);
  std::printf("own %d, engine %d\n", own, engine);
  return own == (argc > 2 ? 1 : 0) ? 0 : 1;
}
