// Vectors as wide as the CPU capability that a file is compiled for, on the compiler's own vector
// types: + - * / < >= ?: work on them as on numbers, lane by lane. Here is the rest: what a vector
// type does not say, or what compilers make badly of it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "array.h"
#include "vector_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

#if defined(__AVX512BW__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <class T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <class T, int Bytes = kVectorBytes>
  requires std::is_arithmetic_v<T>
struct VectorOf {
  typedef T type __attribute__((vector_size(Bytes)));
};
template <class T>
using Vector = typename VectorOf<T>::type;

template <>
struct BitsOf<Vector<double>> {
  using type = Vector<std::uint64_t>;
};

// What comparing vectors gives.
template <class T>
using SameSizeInteger =
    std::conditional_t<sizeof(T) == 2, std::int16_t,
                       std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>>;

// n rounded up to whole vectors.
template <class T>
constexpr std::int64_t whole_vectors(std::int64_t n) {
  return (n + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

template <class T>
Vector<T> broadcast(T value) {
  return value - Vector<T>{};  // and not plus, for the sign of a zero
}

template <class T>
Vector<T> load(const T* address) {
  Vector<T> vector;
  std::memcpy(&vector, address, sizeof vector);
  return vector;
}

template <class T, class V>
void store(T* address, V vector) {  // of any number of lanes
  static_assert(std::is_same_v<std::remove_cvref_t<decltype(vector[0])>, T>);
  std::memcpy(address, &vector, sizeof vector);
}

// The vector itself; a compiler would rather load twice what is used twice.
template <class V>
V loaded_once(V vector) {
#if defined(__AVX512F__)
  asm("" : "+v"(vector));
#elif defined(__x86_64__)
  asm("" : "+x"(vector));
#elif defined(__aarch64__)
  asm("" : "+w"(vector));
#endif
  return vector;
}

template <class T>
Vector<T> maximum(Vector<T> a, Vector<T> b) {
  return a > b ? a : b;
}

template <class T>
Vector<T> minimum(Vector<T> a, Vector<T> b) {
  return a < b ? a : b;
}

template <>
inline Vector<double> square_root(Vector<double> x) {
#if defined(__AVX512BW__)
  return _mm512_maskz_sqrt_pd(0xff, x);  // unmasked, GCC 12 warns of its own header
#elif defined(__AVX2__)
  return _mm256_sqrt_pd(x);
#elif defined(__x86_64__)
  return _mm_sqrt_pd(x);
#elif defined(__ARM_NEON)
  return vsqrtq_f64(x);
#else
  for (int i = 0; i < kLanes<double>; ++i) x[i] = __builtin_sqrt(x[i]);
  return x;
#endif
}

// Bit i says whether it holds of lane i.
enum class Comparison : std::uint8_t { equal, less, greater, greater_equal };

template <Comparison kind, class T>
std::uint64_t lanes_where(Vector<T> a, Vector<T> b) {
#if defined(__AVX512BW__)  // from its own mask registers; through a vector takes three instructions
  constexpr int predicate = kind == Comparison::equal     ? _CMP_EQ_OQ
                            : kind == Comparison::less    ? _CMP_LT_OQ
                            : kind == Comparison::greater ? _CMP_GT_OQ
                                                          : _CMP_GE_OQ;
  if constexpr (std::is_integral_v<T>) {
    constexpr int order = kind == Comparison::equal     ? _MM_CMPINT_EQ
                          : kind == Comparison::less    ? _MM_CMPINT_LT
                          : kind == Comparison::greater ? _MM_CMPINT_NLE
                                                        : _MM_CMPINT_NLT;
    const auto x = std::bit_cast<__m512i>(a), y = std::bit_cast<__m512i>(b);
    if constexpr (sizeof(T) == 2) return _cvtmask32_u32(_mm512_cmp_epi16_mask(x, y, order));
    if constexpr (sizeof(T) == 4) return _cvtmask16_u32(_mm512_cmp_epi32_mask(x, y, order));
    if constexpr (sizeof(T) == 8) return _cvtmask8_u32(_mm512_cmp_epi64_mask(x, y, order));
  } else if constexpr (sizeof(T) == 4) {
    return _cvtmask16_u32(_mm512_cmp_ps_mask(a, b, predicate));
  } else {
    return _cvtmask8_u32(_mm512_cmp_pd_mask(a, b, predicate));
  }
#else
  Vector<SameSizeInteger<T>> holds;
  if constexpr (kind == Comparison::equal) holds = a == b;
  if constexpr (kind == Comparison::less) holds = a < b;
  if constexpr (kind == Comparison::greater) holds = a > b;
  if constexpr (kind == Comparison::greater_equal) holds = a >= b;
#if defined(__AVX2__)
  if constexpr (sizeof(T) == 2) {
    const auto words = std::bit_cast<__m256i>(holds);
    return static_cast<unsigned>(_mm_movemask_epi8(
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1))));
  } else if constexpr (sizeof(T) == 4) {
    return static_cast<unsigned>(_mm256_movemask_ps(std::bit_cast<__m256>(holds)));
  } else {
    return static_cast<unsigned>(_mm256_movemask_pd(std::bit_cast<__m256d>(holds)));
  }
#elif defined(__x86_64__)
  if constexpr (sizeof(T) == 2) {
    return static_cast<unsigned>(
        _mm_movemask_epi8(_mm_packs_epi16(std::bit_cast<__m128i>(holds), __m128i{})));
  } else if constexpr (sizeof(T) == 4) {
    return static_cast<unsigned>(_mm_movemask_ps(std::bit_cast<__m128>(holds)));
  } else {
    return static_cast<unsigned>(_mm_movemask_pd(std::bit_cast<__m128d>(holds)));
  }
#elif defined(__ARM_NEON)
  if constexpr (sizeof(T) == 2) {
    return vaddvq_u16(
        vandq_u16(std::bit_cast<uint16x8_t>(holds), uint16x8_t{1, 2, 4, 8, 16, 32, 64, 128}));
  } else if constexpr (sizeof(T) == 4) {
    return vaddvq_u32(vandq_u32(std::bit_cast<uint32x4_t>(holds), uint32x4_t{1, 2, 4, 8}));
  } else {
    return vaddvq_u64(vandq_u64(std::bit_cast<uint64x2_t>(holds), uint64x2_t{1, 2}));
  }
#else
  std::uint64_t bits = 0;
  for (int i = 0; i < kLanes<T>; ++i) bits |= static_cast<std::uint64_t>(holds[i] & 1) << i;
  return bits;
#endif
#endif
}

// The bits of lanes first, ..., last, of which some may lie outside of the vector.
inline std::uint64_t lanes_between(std::int64_t first, std::int64_t last) {
  const std::uint64_t up_to = ~std::uint64_t{0} >> (63 - (last < 63 ? last : 63));
  return up_to & (~std::uint64_t{0} << (first > 0 ? first : 0));
}

// A block of values is as many as one integer has bits for.
inline constexpr std::int64_t kBlock = 64;

constexpr std::int64_t whole_blocks(std::int64_t n) { return (n + kBlock - 1) / kBlock * kBlock; }

namespace detail {

template <int first, class V, std::size_t... I>
auto part(V v, std::index_sequence<I...>) {
  return __builtin_shufflevector(v, v, static_cast<int>(I + first)...);
}

// Folds the upper half of the lanes onto the lower, until two are left.
template <int lanes, class V, class Fold>
auto fold_lanes(V v, const Fold& fold) {
  if constexpr (lanes == 2) {
    return fold(v[0], v[1]);
  } else {
    constexpr auto half = std::make_index_sequence<lanes / 2>{};
    return fold_lanes<lanes / 2>(fold(part<0>(v, half), part<lanes / 2>(v, half)), fold);
  }
}

template <int from, class V, std::size_t... I>
V lanes_from(V a, V b, std::index_sequence<I...>) {
  return __builtin_shufflevector(a, b, static_cast<int>(I + from)...);
}

template <int first, class V, std::size_t... I>
V every_other(V a, V b, std::index_sequence<I...>) {
  return __builtin_shufflevector(a, b, static_cast<int>(2 * I + first)...);
}

}  // namespace detail

template <class T>
T largest_lane(Vector<T> v) {
  return detail::fold_lanes<kLanes<T>>(v, [](auto a, auto b) { return a > b ? a : b; });
}

template <class T>
T smallest_lane(Vector<T> v) {
  return detail::fold_lanes<kLanes<T>>(v, [](auto a, auto b) { return a < b ? a : b; });
}

// Lanes `first`, first + 2, ... of a and then of b.
template <int first, class T>
Vector<T> every_other(Vector<T> a, Vector<T> b) {
#if defined(__x86_64__) && !defined(__AVX512BW__)
  if constexpr (sizeof(T) == 2) {
    const auto widened = [](Vector<T> v) {
      const auto pairs = std::bit_cast<Vector<std::int32_t>>(v);
      return first == 1 ? pairs >> 16 : (pairs << 16) >> 16;
    };
#if defined(__AVX2__)
    const __m256i packed =
        _mm256_packs_epi32(std::bit_cast<__m256i>(widened(a)), std::bit_cast<__m256i>(widened(b)));
    return std::bit_cast<Vector<T>>(_mm256_permute4x64_epi64(packed, 0xd8));
#else
    return std::bit_cast<Vector<T>>(
        _mm_packs_epi32(std::bit_cast<__m128i>(widened(a)), std::bit_cast<__m128i>(widened(b))));
#endif
  }
#endif
  return detail::every_other<first>(a, b, std::make_index_sequence<kLanes<T>>{});
}

// Maxima of the lanes (0, 1), (2, 3), ... of a and then of b.
template <class T>
Vector<T> maxima_of_pairs(Vector<T> a, Vector<T> b) {
  if constexpr (sizeof(T) == 2) {
    const auto lower_is_maximum = [](Vector<T> v) {
      return maximum<T>(v, std::bit_cast<Vector<T>>(std::bit_cast<Vector<std::int32_t>>(v) >> 16));
    };
    return every_other<0, T>(lower_is_maximum(a), lower_is_maximum(b));
  }
#if defined(__AVX2__) && !defined(__AVX512BW__)
  // Within the 16-byte parts first, which is cheap, and one move across them afterwards.
  if constexpr (sizeof(T) == 4) {
    const Vector<T> even = __builtin_shufflevector(a, b, 0, 2, 8, 10, 4, 6, 12, 14);
    const Vector<T> odd = __builtin_shufflevector(a, b, 1, 3, 9, 11, 5, 7, 13, 15);
    const Vector<T> maxima = maximum<T>(even, odd);
    return __builtin_shufflevector(maxima, maxima, 0, 1, 4, 5, 2, 3, 6, 7);
  }
#endif
  return maximum<T>(every_other<0, T>(a, b), every_other<1, T>(a, b));
}

// As many lanes of a and then of b as a vector has, the first `from` left out.
template <int from, class T>
Vector<T> lanes_from(Vector<T> a, Vector<T> b) {
  return detail::lanes_from<from>(a, b, std::make_index_sequence<kLanes<T>>{});
}

// The first half of the lanes.
template <class T>
auto first_half(Vector<T> v) {
  return detail::part<0>(v, std::make_index_sequence<kLanes<T> / 2>{});
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
