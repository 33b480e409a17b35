// Numbers with a derivative beside them: what is computed of duals is computed along a direction as
// well. The gradients of the operations are written once, for S of double or Dual; of duals, they
// give the derivative of a gradient, which is all that a second backward pass needs.
#pragma once

#include "host_device.h"
#include "vector_math.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

struct Dual {
  double value = 0.0;
  double tangent = 0.0;

  Dual() = default;
  VL4POSE_HOST_DEVICE Dual(double value, double tangent = 0.0) : value(value), tangent(tangent) {}

  VL4POSE_HOST_DEVICE Dual& operator+=(const Dual& other) { return *this = *this + other; }
  VL4POSE_HOST_DEVICE Dual& operator-=(const Dual& other) { return *this = *this - other; }

  VL4POSE_HOST_DEVICE friend Dual operator-(const Dual& a) { return {-a.value, -a.tangent}; }
  VL4POSE_HOST_DEVICE friend Dual operator+(const Dual& a, const Dual& b) {
    return {a.value + b.value, a.tangent + b.tangent};
  }
  VL4POSE_HOST_DEVICE friend Dual operator-(const Dual& a, const Dual& b) {
    return {a.value - b.value, a.tangent - b.tangent};
  }
  VL4POSE_HOST_DEVICE friend Dual operator*(const Dual& a, const Dual& b) {
    return {a.value * b.value, a.tangent * b.value + a.value * b.tangent};
  }
  VL4POSE_HOST_DEVICE friend Dual operator/(const Dual& a, const Dual& b) {
    const double quotient = a.value / b.value;
    return {quotient, (a.tangent - quotient * b.tangent) / b.value};
  }
};

VL4POSE_HOST_DEVICE inline Dual exponential(const Dual& x) {
  const double power = exponential(x.value);
  return {power, power * x.tangent};
}
VL4POSE_HOST_DEVICE inline Dual logarithm(const Dual& x) {
  return {logarithm(x.value), x.tangent / x.value};
}
VL4POSE_HOST_DEVICE inline Dual square_root(const Dual& x) {
  const double root = square_root(x.value);
  return {root, x.tangent / (2.0 * root)};
}

// A number that changes by `tangent` along the direction.
template <class S>
VL4POSE_HOST_DEVICE S moving(double value, double tangent) {
  if constexpr (requires(S number) { number.tangent; }) {
    return {value, tangent};
  } else {
    return value;
  }
}

VL4POSE_HOST_DEVICE inline double value_of(double x) { return x; }
VL4POSE_HOST_DEVICE inline double value_of(const Dual& x) { return x.value; }

// What is asked for: of a number itself, of a dual its derivative along the direction.
VL4POSE_HOST_DEVICE inline double asked_of(double x) { return x; }
VL4POSE_HOST_DEVICE inline double asked_of(const Dual& x) { return x.tangent; }

// Calls run(S{}), S being what to compute with: duals along a direction.
template <class Run>
void with_number(bool is_along, const Run& run) {
  is_along ? run(Dual{}) : run(double{});
}

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
