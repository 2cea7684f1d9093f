// What the plugin's layers compute, without TensorRT: that they hand the right numbers to the launchers, in the right
// order, and do not allocate while they run.
#include <cmath>
#include <initializer_list>
#include <random>
#include <vector>

#include "host/common/float_types.h"
#include "layers.h"

namespace {

using Values = std::vector<float>;

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
  std::size_t bytes = 0;
  const Problem problem = configured(layer, smallest, largest, type, &bytes);
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
    TagHeadLayer without_maps = layer;
    *std::get<std::int32_t*>(without_maps.settings()[3].value) = 0;
    Values alone(logits.size());
    void* const target = alone.data();
    expect(without_maps.output_count() == 1, "one output");
    expect(without_maps.run(sources.data(), &target, workspace, nullptr).empty() && alone == logits, "without maps");

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

}  // namespace

int main() {
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
