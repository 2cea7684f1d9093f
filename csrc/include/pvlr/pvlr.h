// libpvlr: tags frames with a plan that pvlr_sdk built, from C or any language that calls C. Needs no Python.
//
//   pvlr_tagger* tagger = NULL;
//   if (pvlr_open("engine.plan", NULL, &tagger) != PVLR_OK) return fail(pvlr_last_error());
//
//   pvlr_frame frame = {0};
//   frame.struct_size = sizeof frame;
//   frame.format = PVLR_FORMAT_BGR;
//   frame.width = 1920;
//   frame.height = 1080;
//   frame.planes[0] = pixels;
//   frame.pitches[0] = 3 * 1920;
//
//   pvlr_job* job = NULL;
//   pvlr_result result = {0};
//   result.struct_size = sizeof result;
//   if (pvlr_submit(tagger, &frame, &job) == PVLR_OK && pvlr_wait(job, &result) == PVLR_OK) {
//     for (size_t i = 0; i < result.tag_count; ++i) printf("%s %.2f\n", result.tags[i].label, result.tags[i].score);
//   }
//   pvlr_release(job);
//   pvlr_close(tagger);
//
// Errors. A function that can fail returns a code, and pvlr_last_error() has the message: which argument is wrong, what
// was expected and what came. A function that failed has changed nothing, and has set its output pointer to NULL.
//
// Threads. Any number of threads may use one tagger at the same time. A job belongs to one thread at a time. A process
// that was forked cannot use the taggers of its parent.
//
// Memory. pvlr_submit, pvlr_wait, pvlr_map and pvlr_release allocate nothing of their own once they are warm: after as
// many jobs as are ever alive at the same time, and after each thread's first frame of a size. (The inference engine
// may allocate.) The library copies what it needs: arguments may be freed when a function returns.
//
// Versions. Set `struct_size` of every struct to its sizeof, and all other members to zero unless they are wanted: zero
// always means the default. Later versions of the library append members, and still accept the sizes of earlier ones. A
// struct of a later version is accepted as long as the members that this version does not know are zero.
//
// Trust. With trusted keys, pvlr_options.trust or the environment variable PVLR_TRUST, the library opens only bundles
// that one of these keys has signed, and no older version than one that was in use (docs/signing.md). Without keys it
// verifies the integrity of a bundle alone (sizes, SHA-256, the result for its golden image): whoever can write the
// plan then decides what the inference engine parses. A plan for TensorRT is code that runs in this process, so without
// keys it is opened only with pvlr_options.allow_unsigned, or if the environment variable PVLR_ALLOW_UNSIGNED is 1.
//
// GPUs. A library that was built with TensorRT also opens plans of the backend tensorrt, which run on device 0;
// CUDA_VISIBLE_DEVICES selects it. A call leaves the current device of its thread as it is. After
// PVLR_ERROR_DEVICE_LOST no plan runs on the GPU any more in this process: restart it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PVLR_API __attribute__((visibility("default")))
#else
#define PVLR_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

// The version of this interface: it rises when a struct grows or a function is added.
#define PVLR_API_VERSION 4

// The version of the library, for example "0.3.0".
PVLR_API const char* pvlr_version(void);

// ---- Errors ---------------------------------------------------------------------------------------------------------

typedef enum pvlr_status {
  PVLR_OK = 0,
  PVLR_ERROR_INVALID_ARGUMENT = 1,    // an argument of the call: a null pointer, a size, a pitch, an unknown value
  PVLR_ERROR_NOT_FOUND = 2,           // a file of the bundle, or a label bank, is missing or unreadable
  PVLR_ERROR_INVALID_BUNDLE = 3,      // a file is not what the manifest says, or the plan cannot use a label bank
  PVLR_ERROR_UNSUPPORTED = 4,         // a bundle for a backend, device or version that this library or machine lacks
  PVLR_ERROR_SELF_TEST = 5,           // this machine computes other results for the golden image than the builder did
  PVLR_ERROR_NON_FINITE = 6,          // the model computed NaN or infinity
  PVLR_ERROR_OUT_OF_MEMORY = 7,       // of the CPU or the GPU
  PVLR_ERROR_RUNTIME = 8,             // the inference engine failed
  PVLR_ERROR_DEVICE_LOST = 9,         // a fault has broken the GPU's context: restart the process
  PVLR_ERROR_NOT_SIGNED = 10,         // no signature, although there are trusted keys or the plan is code
  PVLR_ERROR_SIGNATURE_INVALID = 11,  // the signature was damaged or forged
  PVLR_ERROR_UNTRUSTED_KEY = 12,      // another key has signed the bundle
  PVLR_ERROR_SIGNATURE_EXPIRED = 13,  // the signature or its key has expired
  PVLR_ERROR_SIGNED_FILE = 14,        // a file was changed, removed, added or renamed after the bundle was signed
  PVLR_ERROR_ROLLBACK = 15,           // the bundle is older than a version that was in use
  PVLR_ERROR_TIMEOUT = 16             // of pvlr_wait_for: the inference goes on
} pvlr_status;

// The message of the last error in the calling thread, for example
// "frame.pitches[0]: expected at least 5760 bytes per row, got 1920". Empty before the first error. Valid until the
// next error in this thread; at most 1023 bytes.
PVLR_API const char* pvlr_last_error(void);

// ---- Taggers --------------------------------------------------------------------------------------------------------

// An open bundle.
typedef struct pvlr_tagger pvlr_tagger;

typedef enum pvlr_optimize {
  PVLR_OPTIMIZE_LATENCY = 0,  // all threads share each inference, or the smallest batch: a single frame is done soonest
  PVLR_OPTIMIZE_THROUGHPUT =
      1  // several inferences in parallel on fewer threads each, or the largest batch: keep several jobs in flight
} pvlr_optimize;

typedef enum pvlr_operating_point {
  PVLR_OPERATING_POINT_F1 = 0,      // the thresholds with the best F1
  PVLR_OPERATING_POINT_PRECISE = 1  // those at which at least 90 % of the tags are correct; F1's if the plan has none
} pvlr_operating_point;

// Of pvlr_options.tile_columns: as many tiles as the size of the frame calls for.
#define PVLR_TILES_AUTO (-1)

typedef struct pvlr_options {
  size_t struct_size;
  const char* precision;    // "auto", "fp32", "fp16", "bf16" or "int8"; NULL: the plan's own. TensorRT has no other
  int32_t optimize;         // a pvlr_optimize
  int32_t threads;          // of the inference engine on a CPU, at most 1024; 0: the cores that this process may use
  int32_t operating_point;  // a pvlr_operating_point
  float threshold;          // of all labels, up to 1, in place of the plan's; 0: the plan's
  int32_t allow_unsigned;   // 1: open a plan for TensorRT, which is code, without a verified signature
  // As of version 2:
  const char* trust;   // public keys that may sign the plan: a folder (*.pem) or a file; NULL: PVLR_TRUST; "": none
  const char* device;  // "auto", "cpu" or "tensorrt", for which the plan must be built; NULL: "auto"
  // As of version 4:
  // Tiles that are tagged along with each whole frame, at most 16 in all, for small objects in large frames: a label's
  // logit is the mean of the whole frame's and its best tile's. 0 or 1: none; PVLR_TILES_AUTO and 0: by the frame's
  // size.
  int32_t tile_columns;
  int32_t tile_rows;
} pvlr_options;

// Opens the bundle of a plan. Reads `plan` (or engine.plan in the folder `plan`) and, beside it, the manifest
// <stem>.json and the label bank <stem>.labels.safetensors; verifies their sizes and hashes; compiles the network,
// which takes about a second, or loads the plan into TensorRT; and compares its logits for the golden image with those
// of the manifest.
//
// `options` may be NULL. Close the tagger with pvlr_close.
PVLR_API pvlr_status pvlr_open(const char* plan, const pvlr_options* options, pvlr_tagger** tagger);

// Closes a tagger; NULL is ignored. No other thread may be using it. Jobs that are still alive stay valid, and the last
// pvlr_release frees the memory.
PVLR_API void pvlr_close(pvlr_tagger* tagger);

// Uses another label bank, a file such as bank.labels.safetensors, from now on, without loading the plan again; only
// for an open plan, else PVLR_ERROR_UNSUPPORTED. Each result is computed with one bank: jobs that have started keep
// theirs. After an error the tagger keeps its labels.
//
// The bank is checked as a bundle is, with the trusted keys of pvlr_open, and the golden image must get finite scores
// between 0 and 1. The options `threshold` and `operating_point` apply to the new labels. Takes as long as one
// inference and a few milliseconds; inferences of other threads go on. As of version 3.
PVLR_API pvlr_status pvlr_set_labels(pvlr_tagger* tagger, const char* bank);

// What a tagger is. All pointers are valid until the tagger is closed; `labels` and `thresholds` of an open plan until
// the next pvlr_set_labels. pvlr_result has the labels of each result.
typedef struct pvlr_info {
  size_t struct_size;
  const char* name;           // of the model
  const char* sha256;         // of the plan, in hex
  const char* backend;        // "openvino" or "tensorrt"
  const char* precision;      // that it computes in: "fp32", "fp16", "bf16" or "int8"
  int32_t threads;            // of the inference engine
  int32_t parallel;           // jobs in flight that keep the engine busy
  size_t label_count;         // C
  const char* const* labels;  // (C,): their names, distinct and in UTF-8
  const float* thresholds;    // (C,): the score at or above which a label is a tag
  int32_t input_width;        // of the network, in pixels
  int32_t input_height;
  int32_t map_rows;  // of an attention map, which covers the whole input
  int32_t map_columns;
} pvlr_info;

PVLR_API pvlr_status pvlr_get_info(const pvlr_tagger* tagger, pvlr_info* info);

// ---- Frames ---------------------------------------------------------------------------------------------------------

typedef enum pvlr_format {  // planes, and the bytes of a row of width W
  PVLR_FORMAT_BGR = 1,      // 1 plane: 3 W
  PVLR_FORMAT_RGB = 2,      // 1 plane: 3 W
  PVLR_FORMAT_BGRA = 3,     // 1 plane: 4 W; alpha is ignored
  PVLR_FORMAT_RGBA = 4,     // 1 plane: 4 W; alpha is ignored
  PVLR_FORMAT_GRAY = 5,     // 1 plane: W
  PVLR_FORMAT_NV12 = 6,     // 2 planes: luma, W; pairs of U and V for 2x2 pixels, 2 ceil(W / 2) in ceil(H / 2) rows
  PVLR_FORMAT_I420 = 7      // 3 planes: luma, W; U and V, each ceil(W / 2) in ceil(H / 2) rows
} pvlr_format;

typedef enum pvlr_matrix {
  PVLR_MATRIX_BT601 = 0,  // most SD cameras
  PVLR_MATRIX_BT709 = 1   // most HD cameras
} pvlr_matrix;

typedef enum pvlr_range {
  PVLR_RANGE_LIMITED = 0,  // luma 16 to 235, chroma 16 to 240
  PVLR_RANGE_FULL = 1      // 0 to 255
} pvlr_range;

// Where the planes of a frame are.
typedef enum pvlr_memory {
  PVLR_MEMORY_HOST = 0,
  PVLR_MEMORY_CUDA = 1,  // of device 0; for plans of the backend tensorrt
} pvlr_memory;

// A frame. Sides are 1 to 16384 pixels, and may be odd in every format.
typedef struct pvlr_frame {
  size_t struct_size;
  int32_t format;  // a pvlr_format
  int32_t matrix;  // a pvlr_matrix; read for NV12 and I420 only, as is the range
  int32_t range;   // a pvlr_range
  int32_t width;
  int32_t height;
  const void* planes[3];  // the first byte of the top row of each plane, with any alignment
  int64_t pitches[3];     // bytes from a row to the next below it: negative where rows lie bottom up; at most 2^30
  // As of version 4:
  int32_t memory;  // a pvlr_memory
  void* stream;    // PVLR_MEMORY_CUDA: the cudaStream_t that writes the planes, for which the GPU waits
} pvlr_frame;

// ---- Jobs -----------------------------------------------------------------------------------------------------------

// The inference of one frame.
typedef struct pvlr_job pvlr_job;

// Starts the inference of a frame. A frame in host memory is copied, or preprocessed for a plan of the CPU, and may be
// freed when this returns; one in CUDA memory must stay as it is until pvlr_wait or pvlr_release has returned.
//
// With tiles, all inferences of the frame are in flight together, each with memory of its own.
// Release the job with pvlr_release. Jobs are reused; their number is not limited, so limit how many are in flight.
PVLR_API pvlr_status pvlr_submit(pvlr_tagger* tagger, const pvlr_frame* frame, pvlr_job** job);

// A label at or above its threshold. This struct does not grow.
typedef struct pvlr_tag {
  const char* label;
  size_t index;  // of the label
  float score;
  float threshold;
} pvlr_tag;

// Left, top, width and height in pixels.
typedef struct pvlr_rectangle {
  int32_t left;
  int32_t top;
  int32_t width;
  int32_t height;
} pvlr_rectangle;

// All pointers are valid until the job is released.
typedef struct pvlr_result {
  size_t struct_size;
  const pvlr_tag* tags;  // (tag_count,): best first; equal scores in the order of the labels
  size_t tag_count;
  size_t label_count;     // C
  const float* scores;    // (C,): the sigmoid of the logits, 0 to 1
  const float* logits;    // (C,)
  pvlr_rectangle region;  // of the network's input that the frame covers; the rest of it is padding (letterbox)
  // As of version 3:
  const char* const* labels;  // (C,)
  const float* thresholds;    // (C,)
} pvlr_result;

// Waits for a job and describes its result. Returns at once if it was called before for this job.
PVLR_API pvlr_status pvlr_wait(pvlr_job* job, pvlr_result* result);

// The same for at most `timeout_ms` milliseconds, 0 to 2^31 - 1: then PVLR_ERROR_TIMEOUT, and `result` is unchanged.
// The inference goes on, so the job can be waited for again. pvlr_release has no timeout.
PVLR_API pvlr_status pvlr_wait_for(pvlr_job* job, int64_t timeout_ms, pvlr_result* result);

// Computes the attention map of a label, whether it is a tag or not: the weight of each place in the input for its
// logit. Waits for the job if necessary. With tiles, the map of the whole frame.
//
// `map` receives map_rows * map_columns weights, row by row, which sum to 1. `capacity` is the number of floats that it
// has room for.
PVLR_API pvlr_status pvlr_map(pvlr_job* job, size_t label, float* map, size_t capacity);

// Releases a job; NULL is ignored. Waits for the inference if pvlr_wait was not called.
PVLR_API void pvlr_release(pvlr_job* job);

#ifdef __cplusplus
}
#endif
