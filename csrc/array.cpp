#include "array.h"

namespace vl4pose {
namespace {

template <class Stored, class T, class Widen>
void gather_row(const std::byte* source, std::int64_t stride, std::int64_t n, T* target,
                Widen widen) {
  if (stride == sizeof(Stored)) {  // a constant stride lets the loop vectorise
    for (std::int64_t i = 0; i < n; ++i) {
      target[i] = widen(read<Stored>(source + i * static_cast<std::int64_t>(sizeof(Stored))));
    }
  } else {
    for (std::int64_t i = 0; i < n; ++i) target[i] = widen(read<Stored>(source + i * stride));
  }
}

template <class T>
bool is_rows_of(const View<4>& heatmaps, const std::byte* data) {
  const std::int64_t size = sizeof(T);
  return heatmaps.dtype == kDType<T> && (heatmaps.strides[3] == size || heatmaps.shape[3] == 1) &&
         heatmaps.strides[2] % size == 0 &&
         reinterpret_cast<std::uintptr_t>(data) % alignof(T) == 0;
}

}  // namespace

template <class T>
Map<T> load_map(const View<4>& heatmaps, std::int64_t b, std::int64_t j, std::vector<T>& scratch) {
  const std::int64_t H = heatmaps.shape[2], W = heatmaps.shape[3];
  const std::byte* data = heatmaps.at(b, j, std::int64_t{0}, std::int64_t{0});
  if (is_rows_of<T>(heatmaps, data)) {
    return {reinterpret_cast<const T*>(data), heatmaps.strides[2] / std::int64_t{sizeof(T)}, H, W};
  }
  scratch.resize(H * W);
  for (std::int64_t y = 0; y < H; ++y) {
    const std::byte* row = data + y * heatmaps.strides[2];
    T* target = scratch.data() + y * W;
    switch (heatmaps.dtype) {
      case DType::float16:
        gather_row<std::uint16_t>(row, heatmaps.strides[3], W, target, widen_float16);
        break;
      case DType::bfloat16:
        gather_row<std::uint16_t>(row, heatmaps.strides[3], W, target, widen_bfloat16);
        break;
      default:
        gather_row<T>(row, heatmaps.strides[3], W, target, [](T value) { return value; });
    }
  }
  return {scratch.data(), W, H, W};
}

template Map<float> load_map(const View<4>&, std::int64_t, std::int64_t, std::vector<float>&);
template Map<double> load_map(const View<4>&, std::int64_t, std::int64_t, std::vector<double>&);

}  // namespace vl4pose
