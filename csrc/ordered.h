// A heatmap's values as the search for peaks compares them.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "array.h"
#include "simd.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// Stands for a value in 16 bits: of two values the larger has no smaller key. Several neighbouring
// floats share a key, but none shares that of zero, and half precision has one for every value.
using Key = std::int16_t;

// Half precision is compared by its keys: twice as many fit into a vector, and nothing is widened.
template <class Stored>
inline constexpr bool kIsHalf = sizeof(Stored) == sizeof(Key);
template <class Stored>
using Ordered = std::conditional_t<kIsHalf<Stored>, Key, Wide<Stored>>;

// Of half precision.
template <class Stored>
inline constexpr Key kInfinityKey = std::is_same_v<Stored, Float16> ? 0x7c00 : 0x7f80;

// Below and above all values; of floating-point numbers, the infinities.
template <class T>
inline constexpr T kLowest =
    std::is_integral_v<T> ? std::numeric_limits<T>::min() : -std::numeric_limits<T>::infinity();
template <class T>
inline constexpr T kHighest =
    std::is_integral_v<T> ? std::numeric_limits<T>::max() : std::numeric_limits<T>::infinity();

namespace detail {

// Floating-point numbers have a sign and a magnitude; integers in the same order have not.
template <class Bits>
Bits key_of_bits(Bits bits) {
  const Bits sign = bits >> 15;
  return ((bits & 0x7fff) ^ sign) - sign;
}

// Away from zero to 16 bits, in the upper half.
template <class Bits>
Bits rounded(Bits bits) {
  return bits + 0xffff;
}

template <class T, int Bytes>
auto keys(typename VectorOf<T, Bytes>::type values) {
  if constexpr (sizeof(T) == 8) {
    using Floats = typename VectorOf<float, Bytes / 2>::type;
    return keys<float, Bytes / 2>(__builtin_convertvector(values, Floats));
  } else {
    using Keys = typename VectorOf<Key, Bytes / 2>::type;
    const auto bits = std::bit_cast<typename VectorOf<std::uint32_t, Bytes>::type>(values);
    return key_of_bits(std::bit_cast<Keys>(__builtin_convertvector(
        rounded(bits) >> 16, typename VectorOf<std::uint16_t, Bytes / 2>::type)));
  }
}

}  // namespace detail

inline Key key_of(Key key) { return key; }
inline Key key_of(float value) {
  const std::uint32_t bits = detail::rounded(std::bit_cast<std::uint32_t>(value));
  return detail::key_of_bits(static_cast<Key>(bits >> 16));
}
inline Key key_of(double value) { return key_of(static_cast<float>(value)); }

// Writes the keys of vectors of values, or of their first halves, one vector after the other.
template <class T, int Bytes, std::size_t n>
void store_keys(Key* to, const std::array<typename VectorOf<T, Bytes>::type, n>& values) {
  constexpr std::size_t lanes = Bytes / sizeof(T);
  if constexpr (sizeof(T) == sizeof(Key)) {
    for (std::size_t i = 0; i < n; ++i) store(to + i * lanes, values[i]);
  } else if constexpr (sizeof(T) == 4 && Bytes == kVectorBytes && n % 2 == 0) {
    const auto bits = [&](std::size_t i) {
      return std::bit_cast<Vector<Key>>(
          detail::rounded(std::bit_cast<Vector<std::uint32_t>>(values[i])));
    };
    for (std::size_t i = 0; i < n; i += 2) {
      store(to + i * lanes, detail::key_of_bits(every_other<1, Key>(bits(i), bits(i + 1))));
    }
  } else {
    for (std::size_t i = 0; i < n; ++i) store(to + i * lanes, detail::keys<T, Bytes>(values[i]));
  }
}

// A vector as it is stored: floating-point numbers, or the bits of half precision.
template <class Stored>
Vector<Ordered<Stored>> load_stored(const Stored* address) {
  return load(reinterpret_cast<const Ordered<Stored>*>(address));
}

// A vector of stored values, in order.
template <class Stored>
Vector<Ordered<Stored>> load_ordered(const Stored* address) {
  if constexpr (kIsHalf<Stored>) return detail::key_of_bits(load_stored(address));
  return load_stored(address);
}

// The value that is compared as `ordered`.
template <class Stored>
Wide<Stored> value_of(Ordered<Stored> ordered) {
  if constexpr (kIsHalf<Stored>) {
    return widen(Stored{static_cast<std::uint16_t>(ordered < 0 ? 0x8000 - ordered : ordered)});
  } else {
    return ordered;
  }
}

// The highest that stands for no more than a bound, which is below +inf.
template <class Stored>
Ordered<Stored> at_or_below(Wide<Stored> bound) {
  if constexpr (kIsHalf<Stored>) {
    int below = -kInfinityKey<Stored>, above = kInfinityKey<Stored>;
    if (bound == -std::numeric_limits<float>::infinity()) return static_cast<Key>(below);
    while (above - below > 1) {
      const int middle = below + (above - below) / 2;
      (value_of<Stored>(static_cast<Key>(middle)) <= bound ? below : above) = middle;
    }
    return static_cast<Key>(below);
  } else {
    return bound;
  }
}

// The lowest that is above another.
inline Key next_above(Key key) { return static_cast<Key>(key + 1); }
inline float next_above(float value) { return std::nextafter(value, kHighest<float>); }
inline double next_above(double value) { return std::nextafter(value, kHighest<double>); }

enum class Finite : std::uint8_t { yes, no, unknown };

// Of vectors the largest numbers, lane by lane, and whether NaN or +inf is among them.
//
// Of finite numbers, and of nothing else, the sum is finite, unless it overflows or one is -inf.
// Bits of half precision need not be made keys: as signed integers they have the order of what is
// not negative; as unsigned ones the negative are above all others, the larger the lower, and a
// negative NaN above them.
template <class Stored>
class LaneMaxima {
 public:
  using T = Ordered<Stored>;

  LaneMaxima() = default;
  explicit LaneMaxima(Vector<T> stored) : largest_(stored) {
    if constexpr (kIsHalf<Stored>) {
      smallest_unsigned_ = largest_unsigned_ = std::bit_cast<Unsigned>(stored);
    } else {
      sum_ = stored;
    }
  }

  void take(Vector<T> stored) { take(LaneMaxima(stored)); }
  void take(const LaneMaxima& other) {
    largest_ = maximum<T>(largest_, other.largest_);
    if constexpr (kIsHalf<Stored>) {
      smallest_unsigned_ = minimum<std::uint16_t>(smallest_unsigned_, other.smallest_unsigned_);
    }
    take_nonfinite(other);
  }
  // Takes from others only whether NaN or +inf is among them.
  void take_nonfinite(const LaneMaxima& other) {
    if constexpr (kIsHalf<Stored>) {
      largest_unsigned_ = maximum<std::uint16_t>(largest_unsigned_, other.largest_unsigned_);
    } else {
      sum_ += other.sum_;
    }
  }

  Vector<T> ordered() const {
    if constexpr (kIsHalf<Stored>) {
      const auto negative = std::bit_cast<Vector<Key>>(smallest_unsigned_);
      return detail::key_of_bits(largest_ < 0 ? negative : largest_);
    } else {
      return largest_;
    }
  }

  // Where `largest` is the largest number of all.
  Finite is_finite(T largest) const {
    if constexpr (kIsHalf<Stored>) {
      const bool holds =
          largest < kInfinityKey<Stored> &&
          largest_lane<std::uint16_t>(largest_unsigned_) <= (0x8000 | kInfinityKey<Stored>);
      return holds ? Finite::yes : Finite::no;
    } else {
      const Vector<T> rest = sum_ - sum_;
      const bool holds =
          lanes_where<Comparison::equal, T>(rest, rest) == lanes_between(0, kLanes<T> - 1);
      return holds ? Finite::yes : Finite::unknown;
    }
  }

 private:
  struct Nothing {};
  using Unsigned = Vector<std::uint16_t>;

  Vector<T> largest_;
  [[no_unique_address]] std::conditional_t<kIsHalf<Stored>, Nothing, Vector<T>> sum_;
  [[no_unique_address]] std::conditional_t<kIsHalf<Stored>, Unsigned, Nothing> smallest_unsigned_,
      largest_unsigned_;
};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
