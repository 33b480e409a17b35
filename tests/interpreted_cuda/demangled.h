#pragma once

#include <cxxabi.h>

#include <cstdlib>
#include <string>
#include <string_view>

namespace interpreted {

// The name of a function as it is in C++.
inline std::string demangled(std::string_view name) {
  int status = 0;
  const std::string mangled(name);
  char* const text = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  if (!text) return mangled;
  std::string result = text;
  std::free(text);
  return result;
}

}  // namespace interpreted
