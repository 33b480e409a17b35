// What lanes of a warp do together.
#pragma once

#include <functional>
#include <string>

#include "operations.h"

namespace interpreted {

// Their last operand is the mask of the lanes, all of which are active when they are run.
void add_collectives(const std::function<void(const std::string&, const Operation&)>& add);

}  // namespace interpreted
