// The plugins as TensorRT calls them, with its headers but without its library: creation, clones, serialisation, types,
// shapes, formats, running, and that whatever is refused ends in a message and a code.
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "launchers.h"
#include "pvlr/dual_softmax_attention.h"
#include "tensorrt_objects.h"

namespace {

void check_creators() {
  std::int32_t count = 0;
  IPluginCreatorInterface* const* all = getCreators(count);
  expect(count == 2, "two creators");
  std::string listed;
  for (int i = 0; i < count; ++i) {
    expect(std::strcmp(all[i]->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE") == 0, "of the third version");
    auto* one = static_cast<IPluginCreatorV3One*>(all[i]);
    listed +=
        std::string(one->getPluginNamespace()) + "::" + one->getPluginName() + " " + one->getPluginVersion() + ":";
    const PluginFieldCollection* fields = one->getFieldNames();
    for (int k = 0; k < fields->nbFields; ++k) {
      listed += std::string(" ") + fields->fields[k].name;
      listed += fields->fields[k].type == PluginFieldType::kINT32 ? " int32" : " float32";
    }
    listed += "; ";
  }
  expect(listed ==
             "pvlr::DualSoftmaxAttention 1: heads int32; "
             "pvlr::TagHead 1: scale float32 alpha float32 epsilon float32 maps int32; ",
         listed);
  expect(std::strstr(pvlr_plugins_about(), "\"version\"") != nullptr, "about");
}

void check_creation() {
  using Type = PluginFieldType;
  const float half = 0.5F;
  const float nothing = NAN;
  const double wide = 0.5;
  const double endless = INFINITY;
  const std::int32_t two = 2;
  const std::int32_t minus = -1;
  const std::int64_t four = 4;
  const std::int64_t huge = std::int64_t{1} << 32;
  char unaligned[5];
  std::memcpy(unaligned + 1, &two, 4);
  const PluginField scale{"scale", &half, Type::kFLOAT32, 1};
  const PluginField alpha{"alpha", &wide, Type::kFLOAT64, 1};
  expect(create("DualSoftmaxAttention", {{"heads", unaligned + 1, Type::kINT32, 1}}) != nullptr, "unaligned");
  expect(create("DualSoftmaxAttention", {{"heads", &four, Type::kINT64, 1}}) != nullptr, "int64");
  expect(create("TagHead", {scale, alpha}) != nullptr, "float32 and float64");
  const struct {
    const char* name;
    std::vector<PluginField> fields;
    const char* error;
  } refused[] = {
      {"DualSoftmaxAttention", {{"heads", &half, Type::kFLOAT32, 1}}, "heads: expected an integer"},
      {"DualSoftmaxAttention", {{"heads", &two, Type::kDIMS, 1}}, "heads: expected an integer"},
      {"DualSoftmaxAttention", {{"heads", &huge, Type::kINT64, 1}}, "heads: expected an integer of 32 bits, got 42949"},
      {"DualSoftmaxAttention", {{"heads", &two, Type::kINT32, 2}}, "heads: expected one number"},
      {"DualSoftmaxAttention", {{"heads", nullptr, Type::kINT32, 1}}, "heads: expected one number"},
      {"DualSoftmaxAttention", {{"heads", &minus, Type::kINT32, 1}}, "heads: expected 1 or more, got -1"},
      {"DualSoftmaxAttention", {{"Heads", &two, Type::kINT32, 1}}, "Heads: unknown field"},
      {"DualSoftmaxAttention", {{nullptr, &two, Type::kINT32, 1}}, "fields: one has no name"},
      {"DualSoftmaxAttention", {}, "heads: the field is missing"},
      {"TagHead", {scale, scale}, "scale: given twice"},
      {"TagHead", {scale}, "alpha: the field is missing"},
      {"TagHead", {{"alpha", &endless, Type::kFLOAT64, 1}}, "alpha: expected a finite number"},
      {"TagHead", {{"scale", &nothing, Type::kFLOAT32, 1}}, "scale: expected a finite number"},
      {"TagHead", {{"scale", &two, Type::kINT32, 1}}, "scale: expected a floating-point number"},
      {"TagHead", {scale, alpha, {"maps", &two, Type::kINT32, 1}}, "maps: expected 0 or 1, got 2"},
  };
  for (const auto& [name, fields, error] : refused) {
    expect(create(name, fields) == nullptr, error);
    expect_error(std::string("pvlr::") + name + ": " + error);
  }
  expect(creator("TagHead")->createPlugin("node", nullptr, TensorRTPhase::kBUILD) == nullptr, "no fields");
  expect_error("pvlr::TagHead: scale: the field is missing");
  finder.broken = true;
  expect(attention(0) == nullptr, "no heads, and a logger that throws");
  finder.broken = false;
  setLoggerFinder(nullptr);
  expect(attention(0) == nullptr, "no heads, and no logger");
  setLoggerFinder(other_finder());
  expect(attention(0) == nullptr, "no heads, and the logger of another version");
  setLoggerFinder(&finder);
  expect(finder.logger.errors.empty(), "to standard error");
}

// A clone, and what a runtime makes of the serialised fields, is the same plugin.
void check_copies(std::unique_ptr<IPluginV3> original, const std::string& metadata) {
  expect(build(*original).getMetadataString() == metadata, build(*original).getMetadataString());
  const std::string name = core(*original).getPluginName();
  std::unique_ptr<IPluginV3> clone(original->clone());
  original.reset();
  const PluginFieldCollection* fields = runtime(*clone).getFieldsToSerialize();
  std::unique_ptr<IPluginV3> restored(creator(name.c_str())->createPlugin("node", fields, TensorRTPhase::kRUNTIME));
  clone.reset();
  expect(restored != nullptr, name + " is restored");
  expect(build(*restored).getMetadataString() == metadata, metadata + " is restored");
  expect(build(*restored).getTimingCacheID() == metadata, metadata + " tells timings apart");
  expect(core(*restored).getPluginName() == name, name);
  expect(std::strcmp(core(*restored).getPluginNamespace(), "pvlr") == 0, "namespace");
  expect(std::strcmp(core(*restored).getPluginVersion(), "1") == 0, "version");
}

void check_types_and_shapes() {
  auto plugin = attention();
  expect(build(*plugin).getNbOutputs() == 2, "two outputs");
  DataType types[2];
  for (const DataType type : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16}) {
    const DataType all[] = {type, type, type, type};
    expect(build(*plugin).getOutputDataTypes(types, 2, all, 4) == 0, "types");
    expect(types[0] == type && types[1] == type, "what goes in comes out");
  }
  const DataType mixed[] = {DataType::kBF16, DataType::kBF16, DataType::kBF16, DataType::kFLOAT};
  expect(build(*plugin).getOutputDataTypes(types, 2, mixed, 4) != 0, "mixed types");
  expect_error("pvlr::DualSoftmaxAttention: v_t: expected one type for all inputs");
  const DataType bytes[] = {DataType::kINT8, DataType::kINT8, DataType::kINT8, DataType::kINT8};
  expect(build(*plugin).getOutputDataTypes(types, 2, bytes, 4) != 0, "int8");
  expect_error("pvlr::DualSoftmaxAttention: q_x: expected one type for all inputs, float32, float16 or bfloat16");

  const Size batch(-1);
  const Size tokens(kTokens);
  const Size labels(kLabels);
  const Size width(kWidth);
  const Size one(1);
  Expressions builder;
  DimsExprs inputs[4]{};
  inputs[0] = inputs[2] = {3, {&batch, &tokens, &width}};
  inputs[1] = inputs[3] = {3, {&one, &labels, &width}};
  DimsExprs outputs[2]{};
  expect(build(*plugin).getOutputShapes(inputs, 4, nullptr, 0, outputs, 2, builder) == 0, "shapes");
  expect(outputs[0].nbDims == 3 && outputs[0].d[0] == &batch && outputs[0].d[1] == &tokens, "o_x");
  expect(outputs[1].nbDims == 3 && outputs[1].d[0] == &batch && outputs[1].d[1] == &labels, "o_t");
  expect(outputs[0].d[2] == &width && outputs[1].d[2] == &width, "their widths");
  inputs[2].nbDims = 2;
  expect(build(*plugin).getOutputShapes(inputs, 4, nullptr, 0, outputs, 2, builder) != 0, "a wrong rank");
  expect_error("pvlr::DualSoftmaxAttention: v_x: expected the shape of q_x, (?, 5, 64), got (?, 5)");
  expect(build(*plugin).getOutputShapes(inputs, 4, nullptr, 0, outputs, 3, builder) != 0, "three outputs");
  expect_error("pvlr::DualSoftmaxAttention: outputs: unexpected number 3");
}

void check_formats() {
  auto plugin = attention();
  for (const DataType type : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT8, DataType::kINT32}) {
    const bool known = type == DataType::kFLOAT || type == DataType::kHALF || type == DataType::kBF16;
    std::vector<DynamicPluginTensorDesc> tensors(6, range(of_tokens(1), of_tokens(8), type));
    for (int position = 0; position < 6; ++position) {
      if (!known && position > 0) continue;
      expect(build(*plugin).supportsFormatCombination(position, tensors.data(), 4, 2) == known, "a type");
      tensors[static_cast<std::size_t>(position)].desc.format = TensorFormat::kCHW32;
      expect(!build(*plugin).supportsFormatCombination(position, tensors.data(), 4, 2), "linear only");
      tensors[static_cast<std::size_t>(position)].desc.format = TensorFormat::kLINEAR;
    }
    tensors[3].desc.type = DataType::kINT64;
    expect(!known || !build(*plugin).supportsFormatCombination(3, tensors.data(), 4, 2), "of one type");
  }
}

void check_configuration() {
  auto plugin = attention();
  auto inputs = profile(1, 8);
  IPluginV3OneBuild& builder = build(*plugin);
  expect(builder.configurePlugin(inputs.data(), 4, nullptr, 2) == 0, "a profile");
  const std::size_t large = builder.getWorkspaceSize(inputs.data(), 4, nullptr, 2);
  const auto small_inputs = profile(1, 2);
  expect(large > builder.getWorkspaceSize(small_inputs.data(), 4, nullptr, 2), "workspace of the largest batch");

  inputs[1].desc.format = TensorFormat::kCHW4;
  expect(builder.configurePlugin(inputs.data(), 4, nullptr, 2) != 0, "a vectorised format");
  expect_error("pvlr::DualSoftmaxAttention: k_t: expected the linear format");
  inputs[1] = range(dims({1, kLabels, 32}), dims({1, kLabels, 32}));
  expect(builder.configurePlugin(inputs.data(), 4, nullptr, 2) != 0, "a narrow bank");
  expect_error("pvlr::DualSoftmaxAttention: k_t: expected (1, ?, 64)");
  inputs[1] = range(dims({1, 1 << 21, kWidth}), dims({1, 1 << 21, kWidth}));
  inputs[3] = inputs[1];
  expect(builder.configurePlugin(inputs.data(), 4, nullptr, 2) != 0, "too many labels");
  expect_error("pvlr::DualSoftmaxAttention: labels: must be between 1 and 2^20");
  expect(builder.getWorkspaceSize(inputs.data(), 4, nullptr, 2) == 0, "no workspace for it");
  expect_error("pvlr::DualSoftmaxAttention: labels: must be between 1 and 2^20");
  expect(builder.configurePlugin(inputs.data(), 0, nullptr, 2) != 0, "no inputs");
  expect_error("pvlr::DualSoftmaxAttention: inputs: expected the 4 inputs");
}

std::vector<float> numbers(std::int64_t count, float start) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>((i * 37) % 23) / 11.0F + start;
  }
  return values;
}

// In a context: batches of several sizes, one after the other, compared with direct calls of the CPU version.
void check_running() {
  auto engine = attention();
  const auto largest = profile(1, 4);
  std::vector<char> workspace(build(*engine).getWorkspaceSize(largest.data(), 4, nullptr, 2));
  std::unique_ptr<IPluginV3> context(runtime(*engine).attachToContext(nullptr));
  engine.reset();
  IPluginV3OneRuntime& running = runtime(*context);
  const void* nothing[4]{};
  void* nowhere[2]{};
  expect(running.enqueue(nullptr, nullptr, nothing, nowhere, nullptr, nullptr) != 0, "no shapes yet");
  expect_error("pvlr::DualSoftmaxAttention: enqueue: onShapeChange was not called before, or failed");

  const auto k_t = numbers(kLabels * kWidth, -1);
  const auto v_t = numbers(kLabels * kWidth, 2);
  for (const std::int64_t batch : {1, 4, 3}) {
    const PluginTensorDesc shapes[] = {tensor(of_tokens(batch)), tensor(of_labels()), tensor(of_tokens(batch)),
                                       tensor(of_labels())};
    expect(running.onShapeChange(shapes, 4, nullptr, 2) == 0, "new shapes");
    const auto q_x = numbers(batch * kTokens * kWidth, 0);
    const auto v_x = numbers(batch * kTokens * kWidth, 1);
    std::vector<float> o_x(q_x.size());
    std::vector<float> o_t(static_cast<std::size_t>(batch * kLabels * kWidth));
    const void* inputs[] = {q_x.data(), k_t.data(), v_x.data(), v_t.data()};
    void* outputs[] = {o_x.data(), o_t.data()};
    const int before = allocations;
    const std::int32_t code = running.enqueue(shapes, nullptr, inputs, outputs, workspace.data(), nullptr);
    const int after = allocations;
    expect(code == 0, "enqueue");
    expect(after == before, "enqueue doesn't allocate");

    std::vector<float> expected_x(o_x.size());
    std::vector<float> expected_t(o_t.size());
    pvlr::DualSoftmaxAttentionParams p{};
    p.q_x = q_x.data();
    p.k_t = k_t.data();
    p.v_x = v_x.data();
    p.v_t = v_t.data();
    p.o_x = expected_x.data();
    p.o_t = expected_t.data();
    p.batch = batch;
    p.heads = 2;
    p.tokens = kTokens;
    p.labels = kLabels;
    p.dim = kWidth / 2;
    p.q_x_strides = p.v_x_strides = p.o_x_strides = {kTokens * kWidth, p.dim, kWidth};
    p.k_t_strides = p.v_t_strides = {0, p.dim, kWidth};
    p.o_t_strides = {kLabels * kWidth, p.dim, kWidth};
    expect(pvlr::dual_softmax_attention_host(p).ok(), "the CPU version");
    expect(o_x == expected_x && o_t == expected_t, "the kernel's values");

    inputs[2] = nullptr;
    expect(running.enqueue(shapes, nullptr, inputs, outputs, workspace.data(), nullptr) != 0, "a null pointer");
    expect_error("pvlr::DualSoftmaxAttention: v_x: must not be null");
    inputs[2] = v_x.data();
    expect(running.enqueue(shapes, nullptr, inputs, outputs, nullptr, nullptr) != 0, "no workspace");
    expect_error("pvlr::DualSoftmaxAttention: workspace_bytes: too small");
  }
  const PluginTensorDesc wrong[] = {tensor(of_tokens(1)), tensor(of_labels()), tensor(of_tokens(2)),
                                    tensor(of_labels())};
  expect(running.onShapeChange(wrong, 4, nullptr, 2) != 0, "shapes that don't fit");
  expect_error("pvlr::DualSoftmaxAttention: v_x: expected the shape of q_x");
  expect(running.enqueue(wrong, nullptr, nothing, nowhere, nullptr, nullptr) != 0, "are not run");
  expect_error("pvlr::DualSoftmaxAttention: enqueue: onShapeChange was not called before, or failed");
  const PluginTensorDesc right[] = {tensor(of_tokens(1)), tensor(of_labels()), tensor(of_tokens(1)),
                                    tensor(of_labels())};
  expect(running.onShapeChange(right, 4, nullptr, 2) == 0, "shapes that fit");
  const PluginTensorDesc bytes[] = {tensor(of_tokens(1), DataType::kINT8), right[1], right[2], right[3]};
  expect(running.onShapeChange(bytes, 4, nullptr, 2) != 0, "a type that doesn't fit");
  expect_error("pvlr::DualSoftmaxAttention: q_x: expected one type for all inputs");
  expect(running.enqueue(bytes, nullptr, nothing, nowhere, nullptr, nullptr) != 0, "is not run");
  expect_error("pvlr::DualSoftmaxAttention: enqueue: onShapeChange was not called before, or failed");
}

}  // namespace

int main() {
  setLoggerFinder(&finder);
  check_creators();
  check_creation();
  const float scale = 12.25F;
  const double alpha = 0.5;
  check_copies(attention(8), "heads=8");
  check_copies(create("TagHead", {{"scale", &scale, PluginFieldType::kFLOAT32, 1},
                                  {"alpha", &alpha, PluginFieldType::kFLOAT64, 1}}),
               "scale=12.25;alpha=0.5;epsilon=9.99999975e-06;maps=1");
  check_types_and_shapes();
  check_formats();
  check_configuration();
  check_running();
  expect(finder.logger.errors.empty(), "no other message");
  if (failures == 0) std::printf("ok\n");
  return failures != 0;
}
