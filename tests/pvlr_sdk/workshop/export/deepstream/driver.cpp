// Calls a parser as nvinfer does: from a shared library, by name, and frees the labels that it returns.
//
//   driver LIBRARY TYPE COUNT THRESHOLD < scores > labels
//
// Each COUNT floats of the input are the output of one frame; each line is what the parser returns for it: the
// values, scores and labels, separated by tabs, or "refused".
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

#include "nvdsinfer_custom_impl.h"

int main(int, char** arguments) {
  void* library = dlopen(arguments[1], RTLD_NOW);
  if (!library) return std::fprintf(stderr, "%s\n", dlerror()), 1;
  auto parse = reinterpret_cast<NvDsInferClassiferParseCustomFunc>(dlsym(library, "NvDsInferParsePvlr"));
  const unsigned int count = static_cast<unsigned int>(std::atoi(arguments[3]));
  std::vector<float> scores(count);
  while (std::fread(scores.data(), sizeof(float), count, stdin) == count) {
    NvDsInferLayerInfo layer{};
    layer.dataType = static_cast<NvDsInferDataType>(std::atoi(arguments[2]));
    layer.inferDims.numDims = 1;
    layer.inferDims.d[0] = layer.inferDims.numElements = count;
    layer.layerName = "scores";
    layer.buffer = scores.data();
    std::vector<NvDsInferAttribute> found;
    std::string text;
    if (!parse({layer}, {288, 288, 3}, static_cast<float>(std::atof(arguments[4])), found, text)) {
      std::puts("refused");
      continue;
    }
    std::string labels;
    for (const NvDsInferAttribute& one : found) {
      std::printf("%u\t%a\t%s\t", one.attributeValue, static_cast<double>(one.attributeConfidence), one.attributeLabel);
      labels.append(one.attributeLabel).append(" ");
      std::free(one.attributeLabel);
    }
    std::puts(labels == text ? "" : "another description");
  }
  return 0;
}
