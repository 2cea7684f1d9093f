// Tags the frames of a list through the C interface, and writes everything that comes out as bytes.
//
//   tag_frames PLAN LIST OUT [BANK|"" [COLUMNSxROWS [PRECISION THREADS POINT THRESHOLD]]]
//
// A line of LIST: format matrix range width height, then offset and pitch of three planes, then the file with the
// bytes. OUT has for each frame: logits, scores, the number of tags (uint64), their indices (uint64), scores and
// thresholds, the region (4 int32), and the attention maps of all labels.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pvlr/pvlr.h"

static void fail(const char* what) {
  fprintf(stderr, "%s: %s\n", what, pvlr_last_error());
  exit(1);
}

static unsigned char* read_file(const char* path) {
  FILE* const file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) fail(path);
  const size_t size = (size_t)ftell(file);
  unsigned char* const data = malloc(size);
  rewind(file);
  if (data == NULL || fread(data, 1, size, file) != size) fail(path);
  fclose(file);
  return data;
}

static void write_out(FILE* out, const void* data, size_t bytes) {
  if (fwrite(data, 1, bytes, out) != bytes) fail("OUT");
}

static void write_result(FILE* out, const pvlr_result* result, const pvlr_info* info, pvlr_job* job) {
  const uint64_t count = result->tag_count;
  write_out(out, result->logits, result->label_count * sizeof(float));
  write_out(out, result->scores, result->label_count * sizeof(float));
  write_out(out, &count, sizeof count);
  for (size_t i = 0; i < count; ++i) {
    const pvlr_tag* const tag = &result->tags[i];
    const uint64_t index = tag->index;
    if (strcmp(tag->label, info->labels[index]) != 0) fail("label");
    if (tag->label != result->labels[index] || tag->threshold != result->thresholds[index]) fail("labels");
    write_out(out, &index, sizeof index);
    write_out(out, &tag->score, sizeof(float));
    write_out(out, &tag->threshold, sizeof(float));
  }
  write_out(out, &result->region, sizeof result->region);
  const size_t size = (size_t)info->map_rows * (size_t)info->map_columns;
  float* const map = malloc(size * sizeof(float));
  for (size_t label = 0; label < result->label_count; ++label) {
    if (map == NULL || pvlr_map(job, label, map, size) != PVLR_OK) fail("pvlr_map");
    write_out(out, map, size * sizeof(float));
  }
  free(map);
}

static void tag_frame(pvlr_tagger* tagger, const pvlr_info* info, const char* line, FILE* out) {
  pvlr_frame frame = {0};
  frame.struct_size = sizeof frame;
  int64_t offsets[3];
  int end = 0;
  const int read = sscanf(line,
                          "%" SCNd32 " %" SCNd32 " %" SCNd32 " %" SCNd32 " %" SCNd32 " %" SCNd64 " %" SCNd64 " %" SCNd64
                          " %" SCNd64 " %" SCNd64 " %" SCNd64 " %n",
                          &frame.format, &frame.matrix, &frame.range, &frame.width, &frame.height, &offsets[0],
                          &frame.pitches[0], &offsets[1], &frame.pitches[1], &offsets[2], &frame.pitches[2], &end);
  if (read != 11) fail(line);
  unsigned char* const data = read_file(line + end);
  for (int i = 0; i < 3; ++i) frame.planes[i] = data + offsets[i];

  pvlr_job* job = NULL;
  pvlr_result result = {0};
  result.struct_size = sizeof result;
  if (pvlr_submit(tagger, &frame, &job) != PVLR_OK) fail("pvlr_submit");
  free(data);  // the library has what it needs
  if (pvlr_wait(job, &result) != PVLR_OK) fail("pvlr_wait");
  write_result(out, &result, info, job);
  pvlr_release(job);
}

int main(int argc, char** argv) {
  if (argc < 4 || argc > 10) return 2;
  pvlr_tagger* tagger = NULL;
  pvlr_info info = {0};
  info.struct_size = sizeof info;
  pvlr_options options = {0};
  options.struct_size = sizeof options;
  if (argc > 5) sscanf(argv[5], "%" SCNd32 "x%" SCNd32, &options.tile_columns, &options.tile_rows);
  if (argc == 10) {
    options.precision = argv[6];
    options.threads = atoi(argv[7]);
    options.operating_point = atoi(argv[8]);
    options.threshold = strtof(argv[9], NULL);
  }
  if (pvlr_open(argv[1], &options, &tagger) != PVLR_OK) fail("pvlr_open");
  if (argc > 4 && *argv[4] != '\0' && pvlr_set_labels(tagger, argv[4]) != PVLR_OK) fail("pvlr_set_labels");
  if (pvlr_get_info(tagger, &info) != PVLR_OK) fail("pvlr_get_info");
  FILE* const list = fopen(argv[2], "r");
  FILE* const out = fopen(argv[3], "wb");
  if (list == NULL || out == NULL) fail("LIST, OUT");
  char line[4096];
  while (fgets(line, sizeof line, list) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    tag_frame(tagger, &info, line, out);
  }
  fclose(list);
  if (fclose(out) != 0) fail("OUT");
  pvlr_close(tagger);
  return 0;
}
