// Scores the maps of a file, for callgrind: what is between the two calls of `counted` is counted.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels.h"

using namespace vl4pose;

[[gnu::noinline]] void counted(const ScoreInputs& inputs, const ScoreOptions& options,
                               const ScoreOutputs<float>& outputs) {
  score(inputs, options, outputs, Range{0, inputs.heatmaps.shape[0]});
}

// FILE HOW_MANY_IMAGES MIN_DISTANCE NUM_PEAKS, of 16 joints in a chain and 64 x 64 pixels.
int main(int, char** argv) {
  constexpr std::int64_t J = 16, H = 64, W = 64;
  const std::int64_t B = std::atoi(argv[2]);
  std::vector<float> heatmaps(B * J * H * W);
  std::FILE* file = std::fopen(argv[1], "rb");
  if (!file || std::fread(heatmaps.data(), 4, heatmaps.size(), file) != heatmaps.size()) return 2;
  std::vector<std::int32_t> parents(J), child_of_link(J - 1);
  for (std::int32_t j = 0; j < J; ++j) parents[j] = j - 1;
  for (std::int32_t l = 0; l < J - 1; ++l) child_of_link[l] = l + 1;
  const Tree tree(parents, child_of_link);
  const std::vector<float> params((J - 1) * 2, 2.0f);
  const auto bytes = [](const auto& values) {
    return reinterpret_cast<const std::byte*>(values.data());
  };
  const ScoreInputs inputs{
      {bytes(heatmaps), DType::float32, {B, J, H, W}, {J * H * W * 4, H * W * 4, W * 4, 4}},
      {bytes(params), DType::float32, {B, J - 1, 2}, {0, 8, 4}},
      &tree};
  ScoreOptions options;
  options.peaks.min_distance = std::atoi(argv[3]);
  options.peaks.num_peaks = std::atoi(argv[4]);
  std::vector<float> scores(B);
  ScoreOutputs<float> outputs;
  outputs.score = scores.data();
  counted(inputs, options, outputs);
  std::printf("%g\n", scores[0]);
}
