// The plugin's argument and shape logic, without TensorRT: what it takes, what it refuses with which words, and that it
// hands the right numbers to the launchers.
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <random>
#include <vector>

#include "host/float_types.h"
#include "launchers.h"
#include "plugin/attention_layer.h"
#include "plugin/tag_head_layer.h"

namespace {

using namespace pvlr::plugin;
using Values = std::vector<float>;
using Shapes = std::vector<Shape>;

constexpr ElementType kFloat = ElementType::kFloat32;
std::mt19937 generator(1);

Values random_values(std::int64_t count) {
  Values values(static_cast<std::size_t>(count));
  for (float& value : values) value = std::normal_distribution<float>()(generator);
  return values;
}

std::int64_t count(const Shape& shape) {
  std::int64_t product = 1;
  for (int axis = 0; axis < shape.rank; ++axis) product *= shape[axis];
  return product;
}

Span<Shape> span(const Shapes& shapes) { return {shapes.data(), static_cast<int>(shapes.size())}; }

Problem set(Layer& layer, const std::vector<Field>& fields) {
  const Problem problem = read_fields(fields, layer.settings());
  return problem.empty() ? layer.check_settings() : problem;
}

AttentionLayer attention(std::int32_t heads) {
  AttentionLayer layer;
  expect(set(layer, {{"heads", FieldType::kInt32, &heads, 1}}).empty(), "heads are taken");
  return layer;
}

TagHeadLayer tag_head(float scale, float alpha) {
  TagHeadLayer layer;
  const std::vector<Field> fields = {{"scale", FieldType::kFloat32, &scale, 1},
                                     {"alpha", FieldType::kFloat32, &alpha, 1}};
  expect(set(layer, fields).empty(), "scale and alpha are taken");
  return layer;
}

void expect_close(const Values& got, const std::vector<double>& expected, double tolerance, const char* what) {
  double worst = got.size() == expected.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < got.size() && i < expected.size(); ++i) {
    worst = std::fmax(worst, std::abs(static_cast<double>(got[i]) - expected[i]));
  }
  expect(worst <= tolerance, std::string(what) + " is off by " + std::to_string(worst));
}

std::vector<double> softmax(std::vector<double> values) {
  double most = -INFINITY;
  double sum = 0;
  for (const double value : values) most = std::fmax(most, value);
  for (double& value : values) sum += value = std::exp(value - most);
  for (double& value : values) value /= sum;
  return values;
}

// Element [b, row, column] of (batch or 1, rows, width) or (rows, width).
double at(const Values& values, const Shape& shape, std::int64_t b, std::int64_t row, std::int64_t column) {
  const std::int64_t rows = shape[shape.rank - 2];
  const std::int64_t width = shape[shape.rank - 1];
  const std::int64_t entry = same_for_all(shape) ? 0 : b;
  return static_cast<double>(values[static_cast<std::size_t>((entry * rows + row) * width + column)]);
}

// With one workspace for a profile, the shapes of its smallest batch, its largest, and the smallest again.
template <typename Check>
void run_in_profile(Layer& layer, const Shapes& smallest, const Shapes& largest, ElementType type, const Check& check) {
  std::vector<ShapeRange> ranges;
  for (std::size_t i = 0; i < smallest.size(); ++i) ranges.push_back({smallest[i], largest[i]});
  std::size_t bytes = 0;
  const Problem problem = configure(layer, {ranges.data(), static_cast<int>(ranges.size())}, type, &bytes);
  expect(problem.empty(), "configured: " + problem);
  std::vector<char> workspace(bytes);
  for (const Shapes* shapes : {&smallest, &largest, &smallest}) {
    const Problem of_shapes = layer.prepare(span(*shapes), type);
    expect(of_shapes.empty(), "prepared: " + of_shapes);
    check(*shapes, workspace.data());
  }
}

void check_attention(const Shapes& smallest, const Shapes& largest, std::int32_t heads) {
  AttentionLayer layer = attention(heads);
  run_in_profile(layer, smallest, largest, kFloat, [&](const Shapes& shapes, void* workspace) {
    const std::int64_t batch = shapes[0][0];
    const std::int64_t tokens = shapes[0][1];
    const std::int64_t width = shapes[0][2];
    const std::int64_t labels = shapes[1][shapes[1].rank - 2];
    const std::int64_t dim = width / heads;
    std::vector<Values> inputs;
    for (const Shape& shape : shapes) inputs.push_back(random_values(count(shape)));
    Values o_x(static_cast<std::size_t>(batch * tokens * width));
    Values o_t(static_cast<std::size_t>(batch * labels * width));
    const void* sources[] = {inputs[0].data(), inputs[1].data(), inputs[2].data(), inputs[3].data()};
    void* targets[] = {o_x.data(), o_t.data()};
    const int before = allocations;
    const Problem problem = layer.run(sources, targets, workspace, nullptr);
    const int after = allocations;
    expect(after == before, "run doesn't allocate");
    expect(problem.empty(), "run: " + problem);

    std::vector<double> expected_x(o_x.size());
    std::vector<double> expected_t(o_t.size());
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t column = 0; column < width; ++column) {
        const std::int64_t head = column / dim * dim;
        const auto affinity = [&](std::int64_t n, std::int64_t c) {
          double sum = 0;
          for (std::int64_t i = head; i < head + dim; ++i) {
            sum += at(inputs[0], shapes[0], b, n, i) * at(inputs[1], shapes[1], b, c, i);
          }
          return sum / std::sqrt(static_cast<double>(dim));
        };
        for (std::int64_t n = 0; n < tokens; ++n) {
          std::vector<double> row;
          for (std::int64_t c = 0; c < labels; ++c) row.push_back(affinity(n, c));
          const auto weights = softmax(row);
          double& sum = expected_x[static_cast<std::size_t>((b * tokens + n) * width + column)];
          for (std::int64_t c = 0; c < labels; ++c) {
            sum += weights[static_cast<std::size_t>(c)] * at(inputs[3], shapes[3], b, c, column);
          }
        }
        for (std::int64_t c = 0; c < labels; ++c) {
          std::vector<double> row;
          for (std::int64_t n = 0; n < tokens; ++n) row.push_back(affinity(n, c));
          const auto weights = softmax(row);
          double& sum = expected_t[static_cast<std::size_t>((b * labels + c) * width + column)];
          for (std::int64_t n = 0; n < tokens; ++n) {
            sum += weights[static_cast<std::size_t>(n)] * at(inputs[2], shapes[2], b, n, column);
          }
        }
      }
    }
    expect_close(o_x, expected_x, 1e-5, "o_x");
    expect_close(o_t, expected_t, 1e-5, "o_t");
  });
}

// `values`, then zeros up to 32.
template <typename T>
std::vector<T> padded(std::initializer_list<float> values) {
  std::vector<T> result(32);
  auto place = result.begin();
  for (const float value : values) pvlr::from_float(value, &*place++);
  return result;
}

// Values that the other two-byte type would read as something else.
template <typename T>
void check_two_bytes(ElementType type) {
  AttentionLayer layer = attention(1);
  const Shapes shapes = {{1, 1, 32}, {2, 32}, {1, 1, 32}, {2, 32}};
  run_in_profile(layer, shapes, shapes, type, [&](const Shapes&, void* workspace) {
    const std::vector<T> queries(32);
    const std::vector<T> keys(64);
    std::vector<T> values = padded<T>({1});
    const std::vector<T> second = padded<T>({3});
    values.insert(values.end(), second.begin(), second.end());
    const std::vector<T> token = padded<T>({5});
    std::vector<T> o_x(32);
    std::vector<T> o_t(64);
    const void* sources[] = {queries.data(), keys.data(), token.data(), values.data()};
    void* targets[] = {o_x.data(), o_t.data()};
    expect(layer.run(sources, targets, workspace, nullptr).empty(), "attention in two bytes");
    expect(to_float(o_x[0]) == 2 && to_float(o_t[0]) == 5 && to_float(o_t[32]) == 5, "their values");
  });
  TagHeadLayer head = tag_head(1, 0);
  const Shapes of_head = {{1, 1, 32}, {1, 32}, {1}};
  run_in_profile(head, of_head, of_head, type, [&](const Shapes&, void* workspace) {
    const auto x = padded<T>({1});
    const auto t = padded<T>({1, 3});
    const float bias = 1;
    float logit = 0;
    float similarity = 0;
    const void* sources[] = {x.data(), t.data(), &bias};
    void* targets[] = {&logit, &similarity};
    expect(head.run(sources, targets, workspace, nullptr).empty(), "tag head in two bytes");
    expect_close({similarity, logit}, {std::sqrt(0.1), 1 + std::sqrt(0.1)}, 1e-6, "its similarity and logit");
  });
}

std::vector<double> normalised(const Values& values, const Shape& shape, std::int64_t b, std::int64_t row,
                               const Values* weight, const Values* bias) {
  const std::int64_t width = shape[shape.rank - 1];
  std::vector<double> result;
  for (std::int64_t i = 0; i < width; ++i) result.push_back(at(values, shape, b, row, i));
  if (weight != nullptr) {
    double mean = 0;
    double variance = 0;
    for (const double value : result) mean += value / static_cast<double>(width);
    for (const double value : result) variance += (value - mean) * (value - mean) / static_cast<double>(width);
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = (result[i] - mean) / std::sqrt(variance + 1e-5) * static_cast<double>((*weight)[i]) +
                  static_cast<double>((*bias)[i]);
    }
  }
  double length = 0;
  for (const double value : result) length += value * value;
  for (double& value : result) value /= std::sqrt(length);
  return result;
}

void check_tag_head(const Shapes& smallest, const Shapes& largest) {
  const float scale = 12.5F;
  const float alpha = 0.4F;
  TagHeadLayer layer = tag_head(scale, alpha);
  run_in_profile(layer, smallest, largest, kFloat, [&](const Shapes& shapes, void* workspace) {
    const bool normed = shapes.size() == 7;
    const std::int64_t batch = shapes[0][0];
    const std::int64_t tokens = shapes[0][1];
    const std::int64_t labels = shapes[1][shapes[1].rank - 2];
    std::vector<Values> inputs;
    std::vector<const void*> sources;
    for (const Shape& shape : shapes) inputs.push_back(random_values(count(shape)));
    for (const Values& input : inputs) sources.push_back(input.data());
    Values logits(static_cast<std::size_t>(batch * labels));
    Values similarity(static_cast<std::size_t>(batch * tokens * labels));
    void* targets[] = {logits.data(), similarity.data()};
    const int before = allocations;
    const Problem problem = layer.run(sources.data(), targets, workspace, nullptr);
    const int after = allocations;
    expect(after == before, "run doesn't allocate");
    expect(problem.empty(), "run: " + problem);

    std::vector<double> expected_logits(logits.size());
    std::vector<double> expected_similarity(similarity.size());
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t c = 0; c < labels; ++c) {
        const auto t =
            normalised(inputs[1], shapes[1], b, c, normed ? &inputs[5] : nullptr, normed ? &inputs[6] : nullptr);
        std::vector<double> similarities;
        std::vector<double> sharpened;
        for (std::int64_t n = 0; n < tokens; ++n) {
          const auto x =
              normalised(inputs[0], shapes[0], b, n, normed ? &inputs[3] : nullptr, normed ? &inputs[4] : nullptr);
          double cosine = 0;
          for (std::size_t i = 0; i < x.size(); ++i) cosine += x[i] * t[i];
          similarities.push_back(static_cast<double>(scale) * cosine);
          sharpened.push_back(static_cast<double>(alpha) * similarities.back());
          expected_similarity[static_cast<std::size_t>((b * tokens + n) * labels + c)] = similarities.back();
        }
        const auto weights = softmax(sharpened);
        double& logit = expected_logits[static_cast<std::size_t>(b * labels + c)];
        logit = static_cast<double>(inputs[2][static_cast<std::size_t>(c)]);
        for (std::size_t n = 0; n < weights.size(); ++n) logit += weights[n] * similarities[n];
      }
    }
    expect_close(logits, expected_logits, 3e-5, "logits");
    expect_close(similarity, expected_similarity, 3e-5, "similarity");
  });
}

void check_fields() {
  const std::int32_t three = 3;
  const std::int64_t four = 4;
  const std::int64_t huge = std::int64_t{1} << 32;
  const double half = 0.5;
  const double endless = INFINITY;
  const float nothing = NAN;
  char unaligned[5];
  std::memcpy(unaligned + 1, &three, 4);
  const auto heads = [](FieldType type, const void* data, std::int64_t elements = 1) {
    return std::vector<Field>{{"heads", type, data, elements}};
  };
  AttentionLayer layer;
  expect(set(layer, heads(FieldType::kInt32, unaligned + 1)).empty() && text(layer.settings()) == "heads=3", "int32");
  expect(set(layer, heads(FieldType::kInt64, &four)).empty() && text(layer.settings()) == "heads=4", "int64");
  expect_begins(set(layer, heads(FieldType::kInt64, &huge)), "heads: expected an integer of 32 bits, got 4294967296");
  expect_begins(set(layer, heads(FieldType::kFloat32, &half)), "heads: expected an integer");
  expect_begins(set(layer, heads(FieldType::kOther, &three)), "heads: expected an integer");
  expect_begins(set(layer, heads(FieldType::kInt32, &three, 2)), "heads: expected one number");
  expect_begins(set(layer, heads(FieldType::kInt32, nullptr)), "heads: expected one number");
  expect_begins(set(layer, {{"head", FieldType::kInt32, &three, 1}}), "head: there is no such field");
  expect_begins(set(layer, {{nullptr, FieldType::kInt32, &three, 1}}), "fields: one has no name");
  expect_begins(set(layer, {heads(FieldType::kInt32, &three)[0], heads(FieldType::kInt32, &three)[0]}),
                "heads: given twice");
  const std::int32_t minus = -1;
  expect_begins(set(layer, heads(FieldType::kInt32, &minus)), "heads: expected 1 or more, got -1");
  AttentionLayer fresh;
  expect_begins(set(fresh, {}), "heads: the field is missing");

  TagHeadLayer head;
  expect_begins(set(head, {}), "scale: the field is missing");
  expect_begins(set(head, {{"scale", FieldType::kFloat64, &half, 1}}), "alpha: the field is missing");
  expect(set(head, {{"alpha", FieldType::kFloat64, &half, 1}}).empty(), "what was set stays");
  expect_begins(set(head, {{"alpha", FieldType::kFloat64, &endless, 1}}), "alpha: expected a finite number");
  expect_begins(set(head, {{"scale", FieldType::kFloat32, &nothing, 1}}), "scale: expected a finite number");
  expect_begins(set(head, {{"scale", FieldType::kInt32, &three, 1}}), "scale: expected a floating-point number");

  // What is written gives the same layer, in a clone too.
  TagHeadLayer original = tag_head(0.1F, 1e-8F);
  TagHeadLayer copy;
  const auto clone = original.clone();
  expect(set(copy, write_fields(clone->settings())).empty(), "fields are read back");
  expect(text(copy.settings()) == text(original.settings()), "and are the same: " + text(copy.settings()));
  expect(text(original.settings()) == "scale=0.100000001;alpha=9.99999994e-09;epsilon=9.99999975e-06", "all digits");
}

void check_types() {
  using E = ElementType;
  E outputs[2];
  const auto types = [&outputs](const Layer& layer, const std::vector<E>& inputs) {
    return layer.output_types({inputs.data(), static_cast<int>(inputs.size())}, outputs);
  };
  const AttentionLayer layer = attention(2);
  for (const E type : {E::kFloat32, E::kFloat16, E::kBfloat16}) {
    expect(types(layer, {type, type, type, type}).empty() && outputs[0] == type && outputs[1] == type, "one type");
    const E all[] = {type, type, type, type, type, type};
    for (int i = 0; i < 6; ++i) expect(layer.accepts(i, all), "each position");
  }
  expect_begins(types(layer, {E::kInt32, E::kInt32, E::kInt32, E::kInt32}), "q_x: expected one type for all inputs");
  expect_begins(types(layer, {E::kFloat16, E::kFloat16, E::kFloat32, E::kFloat16}), "v_x: expected one type");
  expect_begins(types(layer, {E::kFloat16, E::kFloat16}), "inputs: expected the 4 inputs q_x, k_t, v_x, v_t, got 2");
  const E mixed[] = {E::kFloat16, E::kFloat32};
  expect(!layer.accepts(1, mixed), "another type is refused");

  const TagHeadLayer head = tag_head(1, 1);
  expect(types(head, {E::kFloat16, E::kFloat16, E::kFloat32}).empty() && outputs[0] == E::kFloat32,
         "float32 comes out");
  expect_begins(types(head, {E::kFloat16, E::kBfloat16, E::kFloat32}), "t: expected one type for x and t");
  expect_begins(types(head, {E::kFloat16, E::kFloat16, E::kFloat16}), "bias: expected float32");
  expect_begins(types(head, {E::kOther, E::kOther, E::kFloat32}), "x: expected one type");
  expect_begins(types(head, {E::kFloat16, E::kFloat16, E::kFloat32, E::kFloat32}), "inputs: expected x, t, bias");
}

std::string shape_text(const OutputAxes& axes) {
  std::string result;
  for (const AxisOf& same : axes) result += std::to_string(same.input) + "." + std::to_string(same.axis) + " ";
  return result;
}

void check_shapes() {
  const AttentionLayer layer = attention(4);
  std::vector<OutputAxes> axes;
  const Shape queries{kUnknown, 49, 256};
  expect(layer.output_axes(span({queries, {1, 80, 256}, queries, {80, 256}}), &axes).empty(), "unknown batch");
  expect(shape_text(axes[0]) == "0.0 0.1 0.2 " && shape_text(axes[1]) == "0.0 1.1 0.2 ", shape_text(axes[1]));
  expect(layer.output_axes(span({queries, {80, 256}, queries, {80, 256}}), &axes).empty(), "a bank without a batch");
  expect(shape_text(axes[1]) == "0.0 1.0 0.2 ", shape_text(axes[1]));
  const struct {
    Shapes shapes;
    const char* message;
  } refused[] = {
      {{queries, {1, 80, 256}, queries}, "inputs: expected the 4 inputs"},
      {{{49, 256}, {80, 256}, {49, 256}, {80, 256}}, "q_x: expected (batch, tokens, heads * dim), got (49, 256)"},
      {{{2, 4, 49, 64}, {80, 256}, {2, 4, 49, 64}, {80, 256}}, "q_x: expected (batch, tokens, heads * dim)"},
      {{{2, 49, 254}, {80, 254}, {2, 49, 254}, {80, 254}}, "q_x: expected a last axis that 4 heads can share"},
      {{queries, {80, 256}, {2, 48, 256}, {80, 256}}, "v_x: expected the shape of q_x, (?, 49, 256), got (2, 48, 256)"},
      {{queries, {80, 128}, queries, {80, 256}}, "k_t: expected (?, ?, 256), (1, ?, 256) or (?, 256), got (80, 128)"},
      {{queries, {256}, queries, {80, 256}}, "k_t: expected"},
      {{queries, {80, 256}, queries, {81, 256}},
       "v_t: expected (?, 80, 256), (1, 80, 256) or (80, 256), got (81, 256)"},
      {{{2, 49, 256}, {3, 80, 256}, {2, 49, 256}, {80, 256}}, "k_t: expected (2, ?, 256)"},
  };
  for (const auto& [shapes, message] : refused) expect_begins(layer.output_axes(span(shapes), &axes), message);

  const TagHeadLayer head = tag_head(1, 1);
  const Shape x{kUnknown, 49, 64};
  expect(head.output_axes(span({x, {kUnknown, 80, 64}, {80}}), &axes).empty(), "a tag head");
  expect(shape_text(axes[0]) == "0.0 1.1 " && shape_text(axes[1]) == "0.0 0.1 1.1 ", shape_text(axes[1]));
  expect_begins(head.output_axes(span({{49, 64}, {80, 64}, {80}}), &axes), "x: expected (batch, tokens, width)");
  expect_begins(head.output_axes(span({x, {80, 32}, {80}}), &axes), "t: expected (?, ?, 64)");
  expect_begins(head.output_axes(span({x, {80, 64}, {79}}), &axes), "bias: expected (80), got (79)");
  expect_begins(head.output_axes(span({x, {80, 64}, {80}, {64}, {64}, {64}, {32}}), &axes), "t_bias: expected (64)");
}

void check_profiles() {
  const auto configured = [](const Layer& layer, const Shapes& smallest, const Shapes& largest) {
    std::vector<ShapeRange> ranges;
    for (std::size_t i = 0; i < smallest.size(); ++i) ranges.push_back({smallest[i], largest[i]});
    std::size_t bytes = 0;
    return configure(layer, {ranges.data(), static_cast<int>(ranges.size())}, kFloat, &bytes);
  };
  const AttentionLayer layer = attention(2);
  const auto with = [](std::int64_t batch, std::int64_t tokens, std::int64_t labels, std::int64_t width = 128) {
    return Shapes{{batch, tokens, width}, {labels, width}, {batch, tokens, width}, {labels, width}};
  };
  expect(configured(layer, with(1, 49, 80), with(8, 49, 80)).empty(), "the batch may change");
  expect_begins(configured(layer, with(1, 49, 80), with(1, 50, 80)), "q_x: expected a profile in which only the batch");
  expect_begins(configured(layer, with(1, 49, 80), with(1, 49, 81)), "k_t: expected a profile in which only the batch");
  expect_begins(configured(layer, with(1, 49, 80, 96), with(8, 49, 80, 96)), "dim: must be 32, 64, 96 or 128");
  const std::int64_t too_many = (std::int64_t{1} << 20) + 1;
  expect_begins(configured(layer, with(1, 49, too_many), with(1, 49, too_many)), "labels: must be between 1 and 2^20");
  expect_begins(configured(layer, with(1, 49, 80), with(too_many, 49, 80)), "batch: must be between 1 and 2^20");
  expect_begins(configured(layer, with(kUnknown, 49, 80), with(kUnknown, 49, 80)), "batch: must be between");
  const TagHeadLayer head = tag_head(1, 1);
  expect_begins(configured(head, {{1, 49, 4}, {9, 4}, {9}}, {{1, 49, 4}, {9, 4}, {9}}), "width: ");
  expect_begins(configured(head, {{1, 49, 64}, {0, 64}, {0}}, {{1, 49, 64}, {0, 64}, {0}}), "labels: ");
}

}  // namespace

int main() {
  check_fields();
  check_types();
  check_shapes();
  check_profiles();
  check_attention({{1, 5, 96}, {7, 96}, {1, 5, 96}, {1, 7, 96}}, {{3, 5, 96}, {7, 96}, {3, 5, 96}, {1, 7, 96}}, 3);
  check_attention({{1, 9, 64}, {1, 4, 64}, {1, 9, 64}, {1, 4, 64}}, {{2, 9, 64}, {2, 4, 64}, {2, 9, 64}, {2, 4, 64}},
                  1);
  check_two_bytes<pvlr::Half>(ElementType::kFloat16);
  check_two_bytes<pvlr::Bfloat16>(ElementType::kBfloat16);
  check_tag_head({{1, 5, 16}, {1, 3, 16}, {3}}, {{3, 5, 16}, {1, 3, 16}, {3}});
  check_tag_head({{1, 5, 16}, {3, 16}, {3}}, {{4, 5, 16}, {3, 16}, {3}});
  check_tag_head({{1, 6, 8}, {1, 3, 8}, {3}, {8}, {8}, {8}, {8}}, {{2, 6, 8}, {2, 3, 8}, {3}, {8}, {8}, {8}, {8}});
  if (failures == 0) std::printf("ok\n");
  return failures != 0;
}
