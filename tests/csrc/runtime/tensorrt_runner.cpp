// How the TensorRT runner uses and survives the GPU, on the fakes: tensorrt_runner CASE PLAN
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <thread>

#include "device_cases.h"
#include "gpu_checks.h"

namespace {

thread_local bool counting = false;
std::atomic<int> allocations{0};

}  // namespace

// What the fakes allocate does not count.
void* operator new(std::size_t size) {
  if (counting && fake_depth() == 0) ++allocations;
  if (void* const memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

void contexts_and_graphs() {
  World& world = fake_world();
  {
    const pvlr::Tagger tagger = open_plan();
    expect_equal(tagger.info().parallel, 2, "parallel");
    expect(tagger.info().backend == std::string("tensorrt"), "the backend");
    expect(tagger.info().precision == std::string("fp16"), "the precision");
    expect_equal(world.contexts_created, 2, "contexts");
    expect_equal(world.enqueues, 2, "runs before the captures");
    const std::vector<Scores> expected = references(tagger, 7);
    check_in_flight(tagger, expected);
    const int launches = world.graph_launches;
    const int device = world.device_allocations;
    const int host = world.host_allocations;
    for (int round = 0; round < 10; ++round) check_in_flight(tagger, expected);
    expect_equal(world.graph_launches - launches, 70, "launches");
    expect_equal(world.device_allocations, device, "device allocations");
    expect_equal(world.host_allocations, host, "host allocations: three for each of 7 jobs");
    expect_equal(host, 3 * 7, "page-locked buffers");
    expect_equal(world.enqueues, 2, "runs outside of graphs");
    expect_equal(world.contexts_created, 2, "contexts");
    pvlr::Job unused = tagger.submit(frame(0));  // released without a wait
  }
  expect_equal(world.alive, 0, "objects left");
}

void nothing_is_allocated(bool graphs) {
  if (!graphs) fake_world().captures_left = 0;
  const pvlr_options options = allowing();
  pvlr_tagger* tagger = nullptr;
  pvlr::check(pvlr_open(plan.c_str(), &options, &tagger));
  const auto round = [tagger] {
    pvlr_job* jobs[4] = {};
    auto result = pvlr::make<pvlr_result>();
    float map[64];
    const pvlr_frame pixels = frame(0);
    for (pvlr_job*& job : jobs) pvlr::check(pvlr_submit(tagger, &pixels, &job));
    for (pvlr_job* const job : jobs) {
      pvlr::check(pvlr_wait(job, &result));
      pvlr::check(pvlr_map(job, 1, map, 64));
      pvlr_release(job);
    }
  };
  for (int i = 0; i < 3; ++i) round();
  counting = true;
  for (int i = 0; i < 20; ++i) round();
  const int found = allocations;
  delete new int(0);
  counting = false;
  expect_equal(found, 0, "allocations");
  expect_equal(allocations, 1, "a planted allocation");
  expect(graphs == (fake_world().enqueues == 2), "graphs");
  pvlr_close(tagger);
}

void without_graphs() {
  std::vector<Scores> expected;
  {
    const pvlr::Tagger tagger = open_plan();
    expected = references(tagger, 5);
  }
  fake_world().captures_left = 0;
  const int launches = fake_world().graph_launches;
  const pvlr::Tagger tagger = open_plan();
  check_in_flight(tagger, expected);
  expect_equal(fake_world().graph_launches, launches, "graph launches");
}

void batches() {
  const std::vector<Scores> expected = references(open_plan(), 11);
  const pvlr::Tagger tagger = open_plan(PVLR_OPTIMIZE_THROUGHPUT);
  expect_equal(tagger.info().parallel, 8, "parallel");
  const int launches = fake_world().graph_launches;
  const int downloads = fake_world().downloads;
  check_in_flight(tagger, expected);
  expect_equal(fake_world().graph_launches - launches, 5, "launches for 1, 1, 4, 4 and 1 of 11 frames");
  expect_equal(fake_world().downloads - downloads, 2 * 5, "downloads: logits and similarity of each batch");
  std::vector<pvlr::Job> waiting;  // their outputs stay as they are while later batches run
  for (int i = 0; i < 6; ++i) waiting.push_back(tagger.submit(frame(i)));
  expect(scores_of(std::move(waiting[5])) == expected[5], "scores of the last frame");
  for (int round = 0; round < 3; ++round) check_in_flight(tagger, expected);
  for (std::size_t i = 0; i < 5; ++i) expect(scores_of(std::move(waiting[i])) == expected[i], "scores that waited");
}

// Each allocation fails once, and all later ones with it. What was created before is freed.
void out_of_memory_at_open() {
  World& world = fake_world();
  const std::vector<Scores> expected = references(open_plan(), 5);
  const char* const message = "out of memory";
  for (int left = 0; left < 3; ++left) {
    world.allocations_left = left;
    expect_error(PVLR_ERROR_OUT_OF_MEMORY, message, [] { open_plan(); });
    expect_equal(world.alive, 0, "objects left");
  }
  for (int left = 3; left < 6; ++left) {  // one context, and then no memory for the first frame
    world.allocations_left = left;
    expect_error(PVLR_ERROR_OUT_OF_MEMORY, message, [] { open_plan(); });
    expect_equal(world.alive, 0, "objects left");
  }
  world.allocations_left = -1;
  world.contexts_left = 0;
  expect_error(PVLR_ERROR_OUT_OF_MEMORY,
               "engine.plan: expected an execution context in the GPU's free memory, got Error", [] { open_plan(); });
  expect_equal(world.alive, 0, "objects left");
  world.contexts_left = 1;
  const pvlr::Tagger tagger = open_plan();
  expect_equal(tagger.info().parallel, 1, "parallel with one context");
  check_in_flight(tagger, expected);
}

void out_of_memory_at_inference(bool graphs) {
  World& world = fake_world();
  std::atomic<int>& left = graphs ? world.launches_left : world.enqueues_left;
  if (!graphs) world.captures_left = 0;
  const pvlr::Tagger tagger = open_plan();
  const std::vector<Scores> expected = references(tagger, 5);
  left = 3;
  std::vector<pvlr::Job> jobs;  // two run, three wait; of these one is launched before memory runs out
  for (int i = 0; i < 5; ++i) jobs.push_back(tagger.submit(frame(i)));
  const char* const message =
      graphs
          ? "CUDA: expected enough free GPU memory, got cudaGraphLaunch: out of memory (CUDA error 2)"
          : "engine.plan: expected an inference in the GPU's free memory, got [enqueue] Requested 64 MiB: OutOfMemory";
  for (int i = 0; i < 3; ++i) {
    expect(scores_of(std::move(jobs[static_cast<std::size_t>(i)])) == expected[static_cast<std::size_t>(i)], "scores");
  }
  for (std::size_t i = 3; i < 5; ++i) {
    expect_error(PVLR_ERROR_OUT_OF_MEMORY, message, [&] { jobs[i].wait(); });
    expect_error(PVLR_ERROR_OUT_OF_MEMORY, message, [&] { jobs[i].wait(); });
  }
  jobs.clear();
  expect_error(PVLR_ERROR_OUT_OF_MEMORY, message, [&] { tagger.submit(frame(0)); });
  left = -1;
  check_in_flight(tagger, expected);
}

void lost_context() {
  World& world = fake_world();
  auto first = std::make_unique<pvlr::Tagger>(open_plan());
  const pvlr::Tagger second = open_plan();
  std::vector<pvlr::Job> jobs;
  for (int i = 0; i < 5; ++i) jobs.push_back(first->submit(frame(i)));
  pvlr::Job finished = second.submit(frame(1));
  finished.wait();
  std::vector<pvlr::Job> others;
  for (int i = 0; i < 4; ++i) others.push_back(second.submit(frame(i)));
  world.waits_left = 0;
  const std::string message =
      "CUDA: expected a working context, got cudaEventSynchronize: an illegal memory access was encountered "
      "(CUDA error 700). Restart the process";
  const auto expect_lost = [&message](const auto& call) { expect_error(PVLR_ERROR_DEVICE_LOST, message, call); };
  jobs.pop_back();  // released while it waits in the queue: the first to notice
  for (pvlr::Job& job : jobs) {
    expect_lost([&] { job.wait(); });
    expect_lost([&] { job.wait(); });
  }
  for (std::size_t i = others.size(); i-- > 0;) expect_lost([&] { others[i].wait(); });
  expect_lost([&] { first->submit(frame(0)); });
  expect_lost([&] { second.submit(frame(0)); });
  expect_lost([] { open_plan(); });
  finished.wait();  // its result is in host memory
  expect_equal(static_cast<int>(first->info().label_count), 5, "labels");
  first.reset();
}

void lost_context_at_open(bool in_capture) {
  (in_capture ? fake_world().lost_in_capture : fake_world().lost_in_enqueue) = true;
  for (int i = 0; i < 2; ++i) {
    expect_error(PVLR_ERROR_DEVICE_LOST, "(CUDA error 719). Restart the process", [] { open_plan(); });
  }
  expect_equal(fake_world().runtimes, 1, "runtimes: none after the loss");
}

// Threads wait for batches of each other when the context is lost.
void lost_context_in_threads() {
  const pvlr::Tagger tagger = open_plan();
  fake_world().waits_left = 50;
  std::atomic<int> lost{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&tagger, &lost] {
      try {
        while (true) {
          pvlr::Job a = tagger.submit(frame(0));
          pvlr::Job b = tagger.submit(frame(0));
          b.wait();
        }
      } catch (const pvlr::Error& error) {
        lost += error.code() == PVLR_ERROR_DEVICE_LOST;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_equal(lost, 8, "threads with the error");
}

// A job that is not done after a time can be waited for again, and another one can be released.
void timeouts() {
  const pvlr::Tagger tagger = open_plan();
  const std::vector<Scores> expected = references(tagger, 5);
  fake_world().queries_left = 1000;
  std::vector<pvlr::Job> jobs;
  for (int i = 0; i < 5; ++i) jobs.push_back(tagger.submit(frame(i)));  // the last ones wait for a context
  for (pvlr::Job& job : jobs) expect(!job.wait_for(std::chrono::milliseconds(0)), "no result yet");
  fake_world().queries_left = 3;
  for (std::size_t i = 5; i-- > 1;) {
    expect(jobs[i].wait_for(std::chrono::hours(1)), "a result");
    expect(scores_of(std::move(jobs[i])) == expected[i], "scores");
  }
  fake_world().queries_left = 3;
  expect(scores_of(tagger.submit(frame(0))) == expected[0], "scores");
  expect_equal(fake_world().queries_left, 0, "questions before it sleeps");
  jobs.push_back(tagger.submit(frame(0)));
  fake_world().waits_left = 0;
  expect_error(PVLR_ERROR_DEVICE_LOST, "CUDA: expected a working context",
               [&] { jobs[5].wait_for(std::chrono::hours(1)); });
}

// As after cuCtxCreate in the application, which has the primary context's device.
void other_context() {
  int own = 0;
  fake_current_context() = &own;
  {
    const pvlr::Tagger tagger = open_plan();
    check_in_flight(tagger, references(tagger, 5));
  }
  expect(fake_current_context() == &own, "the current context");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  plan = argv[2];
  frame(0);  // before there are threads
  const std::map<std::string, std::function<void()>> cases = {
      {"contexts_and_graphs", contexts_and_graphs},
      {"allocations", [] { nothing_is_allocated(true); }},
      {"allocations_without_graphs", [] { nothing_is_allocated(false); }},
      {"without_graphs", without_graphs},
      {"batches", batches},
      {"out_of_memory_at_open", out_of_memory_at_open},
      {"out_of_memory_at_launch", [] { out_of_memory_at_inference(true); }},
      {"out_of_memory_at_enqueue", [] { out_of_memory_at_inference(false); }},
      {"lost_context", lost_context},
      {"lost_context_at_open", [] { lost_context_at_open(false); }},
      {"lost_context_in_capture", [] { lost_context_at_open(true); }},
      {"lost_context_in_threads", lost_context_in_threads},
      {"other_device", other_device},
      {"other_context", other_context},
      {"profiles", profiles},
      {"profile_of_its_own", profile_of_its_own},
      {"device_frames", device_frames},
      {"without_maps", without_maps},
      {"timeouts", timeouts},
  };
  cases.at(argv[1])();
  if (failures == 0) std::printf("ok\n");
  return failures == 0 ? 0 : 1;
}
