// The limit: the maximum of an array, for which each byte is read once and little else is done.
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <limits>
#include <thread>
#include <vector>

namespace {

// A cache line of floats, which need not be aligned.
typedef float Line __attribute__((vector_size(64), aligned(4), may_alias));
constexpr std::int64_t kLine = 16;
constexpr std::int64_t kStep = 4 * kLine;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

// Reads `kStreams` parts of the array side by side and asks for lines `kAhead` lines before their
// turn. What is fastest depends on the machine's own prefetching, so the caller tries them all.
template <int kStreams, int kAhead>
float maximum(const float* data, std::int64_t n) {
  const std::int64_t part = n / kStreams / kStep * kStep;
  Line largest[kStreams];
  for (Line& line : largest) line = Line{} + kLowest;
  for (std::int64_t i = 0; i < part; i += kStep) {
    for (int s = 0; s < kStreams; ++s) {
      for (std::int64_t step = 0; step < kStep; step += kLine) {
        const float* from = data + s * part + i + step;
        if constexpr (kAhead > 0) __builtin_prefetch(from + kAhead * kLine);
        const Line line = *reinterpret_cast<const Line*>(from);
        largest[s] = largest[s] > line ? largest[s] : line;
      }
    }
  }
  float result = kLowest;
  for (const Line& line : largest) {
    for (int lane = 0; lane < kLine; ++lane) result = std::max(result, line[lane]);
  }
  for (std::int64_t i = kStreams * part; i < n; ++i) result = std::max(result, data[i]);
  return result;
}

constexpr float (*kVariants[])(const float*, std::int64_t) = {
    maximum<1, 0>,  maximum<2, 0>,  maximum<4, 0>,  maximum<8, 0>,  maximum<1, 32>, maximum<2, 32>,
    maximum<4, 32>, maximum<8, 32>, maximum<1, 64>, maximum<2, 64>, maximum<4, 64>, maximum<8, 64>,
};

}  // namespace

extern "C" int num_variants() { return static_cast<int>(std::size(kVariants)); }

// The maximum of n floats on so many threads, which are started for the call as the core's are.
extern "C" float read_maximum(const float* data, std::int64_t n, int variant, int num_threads) {
  const auto bound = [&](std::int64_t i) { return n * i / num_threads; };
  std::vector<float> result(num_threads);
  const auto run = [&](int part) {
    const std::int64_t begin = bound(part);
    result[part] = kVariants[variant](data + begin, bound(part + 1) - begin);
  };
  {
    std::vector<std::jthread> threads;
    for (int part = 1; part < num_threads; ++part) threads.emplace_back(run, part);
    run(0);
  }
  return *std::max_element(result.begin(), result.end());
}
