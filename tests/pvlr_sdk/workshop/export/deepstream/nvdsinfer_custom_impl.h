// The part of DeepStream's interface for parsers of classifiers, declared again from NVIDIA's documentation of
// nvdsinfer.h and nvdsinfer_custom_impl.h (DeepStream 7): for a test, without DeepStream.
#pragma once

#include <string>
#include <vector>

typedef struct {
  unsigned int numDims;
  unsigned int d[8];
  unsigned int numElements;
} NvDsInferDims;

typedef enum { FLOAT = 0, HALF = 1, INT8 = 2, INT32 = 3 } NvDsInferDataType;

typedef struct {
  NvDsInferDataType dataType;
  union {
    NvDsInferDims inferDims;
    NvDsInferDims dims;
  };
  int bindingIndex;
  const char* layerName;
  void* buffer;
  int isInput;
} NvDsInferLayerInfo;

typedef struct {
  unsigned int width;
  unsigned int height;
  unsigned int channels;
} NvDsInferNetworkInfo;

typedef struct {
  unsigned int attributeIndex;
  unsigned int attributeValue;
  float attributeConfidence;
  char* attributeLabel;
} NvDsInferAttribute;

typedef bool (*NvDsInferClassiferParseCustomFunc)(std::vector<NvDsInferLayerInfo> const& outputLayersInfo,
                                                  NvDsInferNetworkInfo const& networkInfo, float classifierThreshold,
                                                  std::vector<NvDsInferAttribute>& attrList, std::string& descString);

#define CHECK_CUSTOM_CLASSIFIER_PARSE_FUNC_PROTOTYPE(parse)                                         \
  static void check_##parse(NvDsInferClassiferParseCustomFunc given = parse) {                      \
    check_##parse();                                                                                \
    (void)given;                                                                                    \
  }                                                                                                 \
  extern "C" bool parse(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&, float, \
                        std::vector<NvDsInferAttribute>&, std::string&)
