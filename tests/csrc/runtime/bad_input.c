// Calls every function with bad input and checks code and message: bad_input PLAN FOLDER_WITHOUT_A_BUNDLE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pvlr/pvlr.h"

enum { kWidth = 7, kHeight = 5 };
static unsigned char pixels[4 * kWidth * kHeight];
static int checks = 0;

// The call must fail with the code and a message that begins with the text.
static void expect(int line, pvlr_status got, pvlr_status code, const char* message) {
  ++checks;
  if (got == code && strncmp(pvlr_last_error(), message, strlen(message)) == 0) return;
  fprintf(stderr, "line %d: expected %d '%s', got %d '%s'\n", line, code, message, got, pvlr_last_error());
  exit(1);
}
static void require(int line, int valid, const char* what) {
  if (valid) return;
  fprintf(stderr, "line %d: expected %s; the last error is '%s'\n", line, what, pvlr_last_error());
  exit(1);
}
#define REFUSED(call, message) expect(__LINE__, call, PVLR_ERROR_INVALID_ARGUMENT, message)

static pvlr_options options(void) {
  pvlr_options options = {0};
  options.struct_size = sizeof options;
  return options;
}

static pvlr_frame frame(int32_t format) {
  pvlr_frame frame = {0};
  frame.struct_size = sizeof frame;
  frame.format = format;
  frame.width = kWidth;
  frame.height = kHeight;
  for (int i = 0; i < 3; ++i) {
    frame.planes[i] = pixels;
    frame.pitches[i] = 4 * kWidth;
  }
  return frame;
}

static void bad_options(const char* plan) {
  pvlr_tagger* tagger = NULL;
  pvlr_options bad;
#define OPTION(member, value, message)                   \
  do {                                                   \
    bad = options();                                     \
    bad.member = value;                                  \
    tagger = (pvlr_tagger*)&bad;                         \
    REFUSED(pvlr_open(plan, &bad, &tagger), message);    \
    require(__LINE__, tagger == NULL, "a null pointer"); \
  } while (0)
  OPTION(struct_size, 0, "options.struct_size: expected 64, got 0");
  OPTION(struct_size, 39, "options.struct_size: expected 64, got 39");
  OPTION(struct_size, 44, "options.struct_size: expected 64, got 44");
  OPTION(struct_size, SIZE_MAX, "options.struct_size: expected 64, got 18446744073709551615");
  OPTION(precision, "", "options.precision: expected one of auto, fp32, fp16, bf16, int8, got ''");
  OPTION(precision, "fp64", "options.precision: expected one of auto, fp32, fp16, bf16, int8, got 'fp64'");
  OPTION(precision, "int8", "options.precision: expected auto or bf16 or fp32, got int8");
  OPTION(precision, "fp16", "options.precision: expected auto or bf16 or fp32, got fp16");
  OPTION(optimize, 2, "options.optimize: expected 0 to 1, got 2");
  OPTION(optimize, INT32_MIN, "options.optimize: expected 0 to 1, got -2147483648");
  OPTION(optimize, -1, "options.optimize: expected 0 to 1, got -1");
  OPTION(threads, -1, "options.threads: expected 0 to 1024, got -1");
  OPTION(threads, INT32_MAX, "options.threads: expected 0 to 1024, got 2147483647");
  OPTION(operating_point, 7, "options.operating_point: expected 0 to 1, got 7");
  OPTION(allow_unsigned, 2, "options.allow_unsigned: expected 0 to 1, got 2");
  OPTION(device, "gpu", "options.device: expected one of auto, cpu, tensorrt, got 'gpu'");
  OPTION(device, "", "options.device: expected one of auto, cpu, tensorrt, got ''");
  OPTION(device, "a name that is longer than any",
         "options.device: expected one of auto, cpu, tensorrt, got 'a name that is l'");
  OPTION(trust, "/nowhere/keys", "/nowhere/keys: expected a readable file, got No such file or directory");
  OPTION(struct_size, 60, "options.struct_size: expected 64, got 60");
  OPTION(tile_columns, 17, "options.tile_columns: expected 0 to 16, got 17");
  OPTION(tile_columns, -2, "options.tile_columns: expected 0 to 16, got -2");
  OPTION(tile_rows, PVLR_TILES_AUTO, "options.tile_rows: expected 0 to 16, got -1");
  OPTION(tile_rows = 4; bad.tile_columns, 5, "options.tile_columns * options.tile_rows: expected 1 to 16, got 20");
  OPTION(threshold, -0.5F, "options.threshold: expected 0 to 1, got -0.5");
  OPTION(threshold, 1.5F, "options.threshold: expected 0 to 1, got 1.5");
  OPTION(threshold, INFINITY, "options.threshold: expected 0 to 1, got inf");
  OPTION(threshold, NAN, "options.threshold: expected 0 to 1, got nan");

  struct {
    pvlr_options known;
    size_t later;
  } newer = {options(), 1};
  newer.known.struct_size = sizeof newer;
  REFUSED(pvlr_open(plan, &newer.known, &tagger), "options: expected members that libpvlr ");
}

// Programs that were compiled with version 1 or 2 of the interface pass smaller options.
static void first_versions(const char* plan) {
  pvlr_tagger* tagger = NULL;
  pvlr_options old = options();
  old.tile_columns = 1000;
  old.struct_size = 56;
  require(__LINE__, pvlr_open(plan, &old, &tagger) == PVLR_OK, "no error");
  pvlr_close(tagger);
  old.struct_size = 40;
  old.device = "of no meaning";
  require(__LINE__, pvlr_open(plan, &old, &tagger) == PVLR_OK, "no error");
  pvlr_close(tagger);
}

// A frame with too few pixels for its tiles, and jobs that are released before they are done.
static void bad_tiles(const char* plan) {
  pvlr_tagger* tagger = NULL;
  pvlr_job* job = NULL;
  pvlr_options tiled = options();
  tiled.tile_columns = 3;
  tiled.tile_rows = 2;
  require(__LINE__, pvlr_open(plan, &tiled, &tagger) == PVLR_OK, "no error");
  static unsigned char gray[64 * 64];
  pvlr_frame frame = {0};
  frame.struct_size = sizeof frame;
  frame.format = PVLR_FORMAT_GRAY;
  frame.width = 64;
  frame.height = 3;
  frame.planes[0] = gray;
  frame.pitches[0] = 64;
  REFUSED(pvlr_submit(tagger, &frame, &job), "frame: expected at least 6 x 4 pixels for its tiles, got 64 x 3");
  for (frame.height = 4; frame.height <= 64; frame.height += 20) {
    pvlr_result result = {0};
    result.struct_size = sizeof result;
    require(__LINE__, pvlr_submit(tagger, &frame, &job) == PVLR_OK, "no error");
    if (frame.height > 4) {
      const pvlr_status polled = pvlr_wait_for(job, 0, &result);
      require(__LINE__, polled == PVLR_OK || polled == PVLR_ERROR_TIMEOUT, "a result or none yet");
    }
    if (frame.height > 24) require(__LINE__, pvlr_wait_for(job, INT32_MAX, &result) == PVLR_OK, "a result");
    pvlr_release(job);
  }
  pvlr_close(tagger);
}

static void bad_bundles(const char* plan, const char* folder) {
  pvlr_tagger* tagger = NULL;
  REFUSED(pvlr_open(plan, NULL, NULL), "tagger: expected a pointer, got null");
  REFUSED(pvlr_open(NULL, NULL, &tagger), "plan: expected a pointer, got null");
  REFUSED(pvlr_open("", NULL, &tagger), "plan: expected the path of a plan, got an empty text");
  expect(__LINE__, pvlr_open(folder, NULL, &tagger), PVLR_ERROR_NOT_FOUND, folder);
  // A message is cut, and never within a character.
  char* const path = malloc(3001);
  for (int i = 0; i < 3000; i += 2) memcpy(path + i, "\xC3\xA4", 2);
  path[3000] = '\0';
  expect(__LINE__, pvlr_open(path, NULL, &tagger), PVLR_ERROR_NOT_FOUND, "\xC3\xA4");
  require(__LINE__, strlen(pvlr_last_error()) == 1022, "1022 bytes");
  free(path);
}

static void bad_frames(pvlr_tagger* tagger) {
  pvlr_job* job = NULL;
  pvlr_frame bad = frame(PVLR_FORMAT_BGR);
  REFUSED(pvlr_submit(NULL, &bad, &job), "tagger: expected a pointer, got null");
  REFUSED(pvlr_submit(tagger, NULL, &job), "frame: expected a pointer, got null");
  REFUSED(pvlr_submit(tagger, &bad, NULL), "job: expected a pointer, got null");
#define FRAME(format, member, value, message)          \
  do {                                                 \
    bad = frame(format);                               \
    bad.member = value;                                \
    REFUSED(pvlr_submit(tagger, &bad, &job), message); \
  } while (0)
  FRAME(PVLR_FORMAT_BGR, struct_size, 8, "frame.struct_size: expected 96, got 8");
  FRAME(PVLR_FORMAT_BGR, struct_size, 95, "frame.struct_size: expected 96, got 95");
  FRAME(PVLR_FORMAT_BGR, struct_size, 0, "frame.struct_size: expected 96, got 0");
  FRAME(PVLR_FORMAT_BGR, struct_size, SIZE_MAX, "frame.struct_size: expected 96, got 18446744073709551615");
  FRAME(PVLR_FORMAT_BGR, format, 0, "frame.format: expected a pvlr_format, got 0");
  FRAME(PVLR_FORMAT_BGR, format, 8, "frame.format: expected a pvlr_format, got 8");
  FRAME(PVLR_FORMAT_NV12, matrix, 2, "frame.matrix: expected a pvlr_matrix, got 2");
  FRAME(PVLR_FORMAT_I420, range, -1, "frame.range: expected a pvlr_range, got -1");
  const int32_t sides[] = {0, -1, 16385, INT32_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof sides / sizeof *sides; ++i) {
    FRAME(PVLR_FORMAT_GRAY, width, sides[i], "frame.width: expected 1 to 16384 pixels, got ");
    FRAME(PVLR_FORMAT_GRAY, height, sides[i], "frame.height: expected 1 to 16384 pixels, got ");
  }
  FRAME(PVLR_FORMAT_BGR, planes[0], NULL, "frame.planes[0]: expected a plane of the format, got null");
  FRAME(PVLR_FORMAT_NV12, planes[1], NULL, "frame.planes[1]: expected a plane of the format, got null");
  FRAME(PVLR_FORMAT_I420, planes[2], NULL, "frame.planes[2]: expected a plane of the format, got null");
  FRAME(PVLR_FORMAT_BGR, pitches[0], 0, "frame.pitches[0]: expected at least 21 bytes per row, got 0");
  FRAME(PVLR_FORMAT_BGR, pitches[0], 20, "frame.pitches[0]: expected at least 21 bytes per row, got 20");
  FRAME(PVLR_FORMAT_BGR, pitches[0], -20, "frame.pitches[0]: expected at least 21 bytes per row, got -20");
  FRAME(PVLR_FORMAT_RGBA, pitches[0], 27, "frame.pitches[0]: expected at least 28 bytes per row, got 27");
  FRAME(PVLR_FORMAT_NV12, pitches[1], 7, "frame.pitches[1]: expected at least 8 bytes per row, got 7");
  FRAME(PVLR_FORMAT_I420, pitches[2], 3, "frame.pitches[2]: expected at least 4 bytes per row, got 3");
  const int64_t pitches[] = {INT64_MIN, INT64_MAX, (1 << 30) + 1, -(1 << 30) - 1};
  for (size_t i = 0; i < sizeof pitches / sizeof *pitches; ++i) {
    FRAME(PVLR_FORMAT_BGR, pitches[0], pitches[i], "frame.pitches[0]: expected at most 1073741824 bytes per row, got ");
    FRAME(PVLR_FORMAT_I420, pitches[1], pitches[i],
          "frame.pitches[1]: expected at most 1073741824 bytes per row, got ");
  }
}

// The bytes of a row of each plane of the formats 1 to 7; kWidth is odd.
static const int64_t rows[8][3] = {
    {0},          {3 * kWidth}, {3 * kWidth},         {4 * kWidth},
    {4 * kWidth}, {kWidth},     {kWidth, kWidth + 1}, {kWidth, (kWidth + 1) / 2, (kWidth + 1) / 2}};

// Every plane of every format with pitches, pointers and sizes that do not fit.
static void hostile_planes(pvlr_tagger* tagger) {
  pvlr_job* job = NULL;
  pvlr_frame bad;
  char message[100];
  for (int32_t format = PVLR_FORMAT_BGR; format <= PVLR_FORMAT_I420; ++format) {
    for (int plane = 0; plane < 3 && rows[format][plane] != 0; ++plane) {
      const int64_t row = rows[format][plane];
      const int64_t small[] = {0, 1 - row, row - 1};
      snprintf(message, sizeof message, "frame.pitches[%d]: expected at least %d bytes per row, got ", plane, (int)row);
      for (size_t i = 0; i < sizeof small / sizeof *small; ++i) {
        FRAME(format, pitches[plane], small[i], message);
      }
      // Beyond 32 bits too, where the low half alone would be a valid pitch.
      const int64_t large[] = {(1LL << 30) + 1, -(1LL << 30) - 1,        1LL << 31, -(1LL << 31), (1LL << 32) + 64,
                               1LL << 62,       INT64_MAX / kHeight + 1, INT64_MAX, INT64_MIN};
      snprintf(message, sizeof message, "frame.pitches[%d]: expected at most 1073741824 bytes per row, got ", plane);
      for (size_t i = 0; i < sizeof large / sizeof *large; ++i) {
        FRAME(format, pitches[plane], large[i], message);
      }
      snprintf(message, sizeof message, "frame.planes[%d]: expected a plane of the format, got null", plane);
      FRAME(format, planes[plane], NULL, message);
      // Rows that wrap around either end of the address space.
      snprintf(message, sizeof message, "frame.planes[%d]: expected rows within the address space, got one", plane);
      FRAME(format, planes[plane], (const void*)(UINTPTR_MAX - 2), message);
      bad.pitches[plane] = -bad.pitches[plane];
      REFUSED(pvlr_submit(tagger, &bad, &job), message);
      bad.planes[plane] = (const void*)(uintptr_t)1000;
      bad.pitches[plane] = -(1LL << 30);
      REFUSED(pvlr_submit(tagger, &bad, &job), message);
    }
  }
}

// Frames that look odd and are valid: rows without gaps, planes that overlap, and planes that are not of the format.
static void odd_planes(pvlr_tagger* tagger) {
  for (int32_t format = PVLR_FORMAT_BGR; format <= PVLR_FORMAT_I420; ++format) {
    pvlr_job* job = NULL;
    pvlr_frame good = frame(format);
    for (int plane = 0; plane < 3; ++plane) {
      good.pitches[plane] = rows[format][plane] != 0 ? rows[format][plane] : INT64_MIN;
      if (rows[format][plane] == 0) good.planes[plane] = (const void*)(uintptr_t)1;
    }
    require(__LINE__, pvlr_submit(tagger, &good, &job) == PVLR_OK, "no error");
    pvlr_release(job);
  }
}

static void bad_labels(pvlr_tagger* tagger, const char* plan) {
  REFUSED(pvlr_set_labels(NULL, plan), "tagger: expected a pointer, got null");
  REFUSED(pvlr_set_labels(tagger, NULL), "bank: expected a pointer, got null");
  expect(__LINE__, pvlr_set_labels(tagger, plan), PVLR_ERROR_UNSUPPORTED, plan);
}

static void bad_results(pvlr_tagger* tagger) {
  pvlr_info info = {0};
  REFUSED(pvlr_get_info(NULL, &info), "tagger: expected a pointer, got null");
  REFUSED(pvlr_get_info(tagger, NULL), "info: expected a pointer, got null");
  REFUSED(pvlr_get_info(tagger, &info), "info.struct_size: expected 88, got 0");
  info.struct_size = 4097;
  REFUSED(pvlr_get_info(tagger, &info), "info.struct_size: expected 88, got 4097");
  info.struct_size = sizeof info;
  require(__LINE__, pvlr_get_info(tagger, &info) == PVLR_OK, "no error");

  pvlr_result result = {0};
  pvlr_frame good = frame(PVLR_FORMAT_BGR);
  pvlr_job* job = NULL;
  float map[8192];
  const size_t size = (size_t)info.map_rows * (size_t)info.map_columns;
  require(__LINE__, pvlr_submit(tagger, &good, &job) == PVLR_OK, "no error");
  REFUSED(pvlr_wait(NULL, &result), "job: expected a pointer, got null");
  REFUSED(pvlr_wait(job, NULL), "result: expected a pointer, got null");
  REFUSED(pvlr_wait(job, &result), "result.struct_size: expected 80, got 0");
  REFUSED(pvlr_wait_for(NULL, 1, &result), "job: expected a pointer, got null");
  REFUSED(pvlr_wait_for(job, 1, NULL), "result: expected a pointer, got null");
  result.struct_size = sizeof result;
  REFUSED(pvlr_wait_for(job, -1, &result), "timeout_ms: expected 0 to 2147483647, got -1");
  REFUSED(pvlr_wait_for(job, 1LL << 31, &result), "timeout_ms: expected 0 to 2147483647, got 2147483648");
  REFUSED(pvlr_map(NULL, 0, map, size), "job: expected a pointer, got null");
  REFUSED(pvlr_map(job, info.label_count, map, size), "label: expected less than ");
  REFUSED(pvlr_map(job, SIZE_MAX, map, size), "label: expected less than ");
  REFUSED(pvlr_map(job, 0, NULL, size), "map: expected a pointer, got null");
  REFUSED(pvlr_map(job, 0, map, size - 1), "capacity: expected at least ");
  // The job is still good, without having been waited for to its end.
  const pvlr_status polled = pvlr_wait_for(job, 0, &result);
  require(__LINE__, polled == PVLR_OK || polled == PVLR_ERROR_TIMEOUT, "a result or none yet");
  require(__LINE__, (result.label_count != 0) == (polled == PVLR_OK), "a result with PVLR_OK alone");
  require(__LINE__, pvlr_wait_for(job, INT32_MAX, &result) == PVLR_OK && result.label_count != 0, "a result");
  // A program that was compiled with version 2 of the interface has smaller results.
  pvlr_result old = {0};
  old.struct_size = 64;
  require(__LINE__, pvlr_wait(job, &old) == PVLR_OK && old.scores == result.scores, "a result");
  require(__LINE__, old.labels == NULL && result.labels[0] == info.labels[0], "labels as of version 3");
  require(__LINE__, pvlr_map(job, 0, map, size) == PVLR_OK, "no error");
  double sum = 0;
  for (size_t i = 0; i < size; ++i) sum += map[i];
  require(__LINE__, fabs(sum - 1) < 1e-5, "a map that sums to 1");
  pvlr_release(job);
  pvlr_release(NULL);
  pvlr_close(NULL);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  if (strcmp(pvlr_last_error(), "") != 0) return 3;
  bad_bundles(argv[1], argv[2]);
  bad_options(argv[1]);
  first_versions(argv[1]);
  bad_tiles(argv[1]);
  pvlr_tagger* tagger = NULL;
  require(__LINE__, pvlr_open(argv[1], NULL, &tagger) == PVLR_OK, "no error");
  bad_frames(tagger);
  hostile_planes(tagger);
  odd_planes(tagger);
  bad_labels(tagger, argv[1]);
  bad_results(tagger);
  pvlr_close(tagger);
  printf("%d refused, ok\n", checks);
  return 0;
}
