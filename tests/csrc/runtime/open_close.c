// Opens, tags and closes COUNT times, and prints the resident memory in KiB after each: open_close PLAN COUNT
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

int main(int argc, char** argv) {
  if (argc != 3) return 2;
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
  for (int i = 0; i < atoi(argv[2]); ++i) {
    pvlr_tagger* tagger = NULL;
    pvlr_job* job = NULL;
    pvlr_result result = {0};
    result.struct_size = sizeof result;
    if (pvlr_open(argv[1], &options, &tagger) != PVLR_OK || pvlr_submit(tagger, &frame, &job) != PVLR_OK) fail();
    if (pvlr_wait(job, &result) != PVLR_OK) fail();
    pvlr_release(job);
    pvlr_close(tagger);
    printf("%ld\n", resident());
  }
  return 0;
}
