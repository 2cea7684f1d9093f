// Tags photos with libpvlr and prints a line for each tag, such as "photo.ppm: cat 0.9921".
//
//   cc tag.c $(pkg-config --cflags --libs pvlr) -o tag
//   ./tag engine.plan photo.ppm...
//
// A photo is a binary PPM without comments, which ffmpeg -i photo.jpg photo.ppm writes.
#include <pvlr/pvlr.h>
#include <stdio.h>
#include <stdlib.h>

// The pixels of a binary PPM with values up to 255, for free(); NULL if the file is not one.
static unsigned char* read_ppm(const char* path, int* width, int* height) {
  FILE* const file = fopen(path, "rb");
  if (file == NULL) return NULL;
  unsigned char* pixels = NULL;
  int largest = 0;
  const int numbers = fscanf(file, "P6 %5d %5d %3d", width, height, &largest);
  if (numbers == 3 && *width > 0 && *height > 0 && largest == 255 && getc(file) != EOF) {
    const size_t size = 3 * (size_t)*width * (size_t)*height;
    pixels = malloc(size);
    if (pixels != NULL && fread(pixels, 1, size, file) != size) {
      free(pixels);
      pixels = NULL;
    }
  }
  fclose(file);
  return pixels;
}

static int tag_photo(pvlr_tagger* tagger, const char* path) {
  int width = 0;
  int height = 0;
  unsigned char* const pixels = read_ppm(path, &width, &height);
  if (pixels == NULL) {
    fprintf(stderr, "%s: expected a binary PPM with values up to 255\n", path);
    return 1;
  }
  const pvlr_frame frame = {
      .struct_size = sizeof frame,
      .format = PVLR_FORMAT_RGB,
      .width = width,
      .height = height,
      .planes = {pixels},
      .pitches = {3 * (int64_t)width},
  };
  pvlr_result result = {.struct_size = sizeof result};
  pvlr_job* job = NULL;
  pvlr_status status = pvlr_submit(tagger, &frame, &job);
  free(pixels);  // the library has copied what it needs
  if (status == PVLR_OK) status = pvlr_wait(job, &result);
  if (status != PVLR_OK) fprintf(stderr, "%s: %s\n", path, pvlr_last_error());
  for (size_t i = 0; i < result.tag_count; ++i) {
    printf("%s: %s %.4f\n", path, result.tags[i].label, (double)result.tags[i].score);
  }
  pvlr_release(job);
  return status == PVLR_OK ? 0 : 1;
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fputs("usage: tag PLAN PHOTO...\n", stderr);
    return 2;
  }
  pvlr_tagger* tagger = NULL;
  if (pvlr_open(argv[1], NULL, &tagger) != PVLR_OK) {
    fprintf(stderr, "%s\n", pvlr_last_error());
    return 2;
  }
  int failed = 0;
  for (int i = 2; i < argc; ++i) failed |= tag_photo(tagger, argv[i]);
  pvlr_close(tagger);
  return failed;
}
