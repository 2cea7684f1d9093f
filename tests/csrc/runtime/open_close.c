// Opens, tags and closes COUNT times, and prints the resident memory in KiB, the threads and the open descriptors a
// hundred times: open_close PLAN COUNT. Every tenth opening has another job, which outlives its tagger.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "pvlr/pvlr.h"

static void fail(void) {
  fprintf(stderr, "%s\n", pvlr_last_error());
  exit(1);
}

static long resident(void) {
  long pages = 0;
  FILE* const file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1) exit(2);
  fclose(file);
  return pages * 4;
}

static int entries(const char* folder) {
  int count = 0;
  DIR* const stream = opendir(folder);
  if (stream == NULL) exit(2);
  while (readdir(stream) != NULL) ++count;
  closedir(stream);
  return count;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int count = atoi(argv[2]);
  static unsigned char pixels[3 * 64 * 48];
  pvlr_frame frame = {0};
  frame.struct_size = sizeof frame;
  frame.format = PVLR_FORMAT_BGR;
  frame.width = 64;
  frame.height = 48;
  frame.planes[0] = pixels;
  frame.pitches[0] = 3 * 64;
  pvlr_options options = {0};
  options.struct_size = sizeof options;
  options.threads = 1;
  for (int i = 0; i < count; ++i) {
    pvlr_tagger* tagger = NULL;
    pvlr_job* job = NULL;
    pvlr_job* late = NULL;
    pvlr_result result = {0};
    result.struct_size = sizeof result;
    if (pvlr_open(argv[1], &options, &tagger) != PVLR_OK || pvlr_submit(tagger, &frame, &job) != PVLR_OK) fail();
    if (i % 10 == 0 && pvlr_submit(tagger, &frame, &late) != PVLR_OK) fail();
    if (pvlr_wait(job, &result) != PVLR_OK) fail();
    pvlr_release(job);
    pvlr_close(tagger);
    pvlr_release(late);
    if (count < 100 || i % (count / 100) == 0) {
      printf("%ld %d %d\n", resident(), entries("/proc/self/task"), entries("/proc/self/fd"));
      fflush(stdout);
    }
  }
  return 0;
}
