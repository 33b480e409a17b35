// The rooted tree of a skeleton, in the form that the recursions walk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace vl4pose {

// Joints 0..J-1; link l goes from parent[child[l]] to child[l]. The caller has checked that the
// links are a rooted tree over all joints.
struct Tree {
  std::vector<std::int32_t> parent;  // (J): each joint's parent, -1 for the root
  std::vector<std::int32_t> link;    // (J): the link that ends at each joint, -1 for the root
  std::vector<std::int32_t> child;   // (L): the joint at which each link ends
  std::vector<std::vector<std::int32_t>> children;  // (J): of each joint, in the order of the links
  std::vector<std::int32_t> leaves_first;           // (J): every joint after its children
  std::int32_t root = -1;

  Tree(std::vector<std::int32_t> parents, std::vector<std::int32_t> child_of_link)
      : parent(std::move(parents)),
        link(parent.size(), -1),
        child(std::move(child_of_link)),
        children(parent.size()) {
    const auto J = static_cast<std::int32_t>(parent.size());
    for (std::int32_t l = 0; l < num_links(); ++l) {
      const std::int32_t joint = child.at(l);
      link.at(joint) = l;
      children.at(parent.at(joint)).push_back(joint);
    }
    for (std::int32_t j = 0; j < J; ++j) {
      if (parent[j] < 0) root = j;
    }
    // Breadth first from the root and then reversed: children come before their parent.
    if (root >= 0) leaves_first.push_back(root);
    for (std::size_t i = 0; i < leaves_first.size(); ++i) {
      const auto& next = children[leaves_first[i]];
      leaves_first.insert(leaves_first.end(), next.begin(), next.end());
    }
    std::ranges::reverse(leaves_first);
    if (std::ssize(leaves_first) != J || num_links() != J - 1) {
      throw std::invalid_argument("the links must be a rooted tree over all joints");
    }
  }

  std::int32_t num_joints() const { return static_cast<std::int32_t>(parent.size()); }
  std::int32_t num_links() const { return static_cast<std::int32_t>(child.size()); }
};

}  // namespace vl4pose
