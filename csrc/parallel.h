// Splits a range of images over threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels.h"

namespace vl4pose {

// Calls work(Range) over disjoint parts of [0, n) that cover it, on at most num_threads
// threads and at least `grain` items each. Threads are started for the call and joined before it
// returns: a pool would leave a forked child waiting for threads that it does not have, and a
// start costs little next to the work that `grain` stands for. The first exception is rethrown.
template <class Work>
void parallel_for(std::int64_t n, std::int64_t grain, int num_threads, const Work& work) {
  const std::int64_t parts =
      std::clamp<std::int64_t>(n / std::max<std::int64_t>(grain, 1), 1, std::max(num_threads, 1));
  if (parts == 1) {
    work(Range{0, n});
    return;
  }
  std::vector<std::exception_ptr> errors(parts);
  const auto run = [&](std::int64_t part) {
    try {
      // As even as possible, and without overflow for any n.
      const auto bound = [&](std::int64_t i) { return n / parts * i + std::min(i, n % parts); };
      work(Range{bound(part), bound(part + 1)});
    } catch (...) {
      errors[part] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(parts - 1);
    for (std::int64_t part = 1; part < parts; ++part) {
      try {
        threads.emplace_back(run, part);
      } catch (const std::system_error&) {  // the system has no thread left: do it here
        run(part);
      }
    }
    run(0);
  }
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace vl4pose
