// One pose per image, link by link, by blocks: what link_total.h has for CPUs. A block has a few
// images at once, and a thread a link at a time; pose_links.h says what "Links" are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "array.h"
#include "block_cuda.h"
#include "dual.h"
#include "host_device.h"
#include "image_output.h"
#include "pass_cuda.h"
#include "places.h"
#include "pose_links.h"
#include "pose_math.h"
#include "tree_cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

// What a block keeps of n images with L links each.
struct LinksLayout {
  std::int64_t link_is_usable;   // (n, L) of bool
  std::int64_t image_is_usable;  // (n) of bool
  std::int64_t of_links;         // (n, L) of double: the log-likelihoods; or (n, L, D) of S: the
                                 // gradient by the parent's place
};

template <class Links>
struct LinksArguments {
  Links links;
  View<2> visible;
  DeviceTree tree;
  typename Links::Result *total, *per_link;  // null in a backward pass, where the links know them
  LinksLayout layout;
  Work work;  // the images
};

// What both passes begin with.
template <class Block, class Links>
class LinksPass {
 public:
  using Arguments = LinksArguments<Links>;

  VL4POSE_DEVICE LinksPass(const Block& block, const Arguments& arguments, std::byte* memory)
      : block_(block), in_(arguments), memory_(memory) {}

 protected:
  using T = typename Links::Result;

  VL4POSE_DEVICE int J() const { return in_.tree.num_joints; }
  VL4POSE_DEVICE int L() const { return in_.tree.num_links; }

  VL4POSE_DEVICE bool* image_is_usable() const {
    return array_at<bool>(memory_, in_.layout.image_is_usable);
  }
  template <class N>
  VL4POSE_DEVICE N* of_links() const {
    return array_at<N>(memory_, in_.layout.of_links);
  }

  // Calls work(i, l, parent, child) for each link of n images.
  template <class Work>
  VL4POSE_DEVICE void for_each_link(int n, const Work& work) const {
    for_each(block_, n * L(), [&](int row) {
      const int l = row % L(), child = in_.tree.child[l];
      work(row / L(), l, int{in_.tree.parent[child]}, child);
    });
  }

  VL4POSE_DEVICE void set_usable(std::int64_t first, int n) const {
    bool* const of_links = array_at<bool>(memory_, in_.layout.link_is_usable);
    for_each(block_, n * L(),
             [&](int row) { of_links[row] = in_.links.is_usable(first + row / L(), row % L()); });
    for_each(block_, n, [&](int i) {
      bool is_usable = true;
      for (int l = 0; l < L(); ++l) is_usable = is_usable && of_links[i * L() + l];
      image_is_usable()[i] = is_usable;
    });
  }

  VL4POSE_DEVICE bool is_visible(std::int64_t b, int parent, int child) const {
    return is_visible_link(in_.visible, b, parent, child);
  }

  const Block& block_;
  const Arguments& in_;
  std::byte* const memory_;
};

template <class Block, class Links>
class LinkTotals : LinksPass<Block, Links> {
  using Base = LinksPass<Block, Links>;
  using Base::image_is_usable;
  using Base::in_;
  using Base::L;
  using typename Base::T;

 public:
  using Base::Base;
  using typename Base::Arguments;

  VL4POSE_DEVICE void operator()(std::int64_t first, int n) const {
    this->set_usable(first, n);
    double* const values = this->template of_links<double>();
    this->for_each_link(n, [&](int i, int l, int parent, int child) {
      const std::int64_t b = first + i;
      double value = image_is_usable()[i] ? 0.0 : kNaN;
      if (image_is_usable()[i] && this->is_visible(b, parent, child)) {
        value = in_.links.log_likelihood(b, l, parent, child);
      }
      values[i * L() + l] = value;
      if (in_.per_link) in_.per_link[b * L() + l] = static_cast<T>(value);
    });
    if (!in_.total) return;
    for_each(this->block_, n, [&](int i) {
      double sum = image_is_usable()[i] ? 0.0 : kNaN;
      for (int l = 0; l < L(); ++l) sum += values[i * L() + l];
      in_.total[first + i] = static_cast<T>(sum);
    });
  }
};

template <class Block, class Links>
class LinkGradients : LinksPass<Block, Links> {
  using Base = LinksPass<Block, Links>;
  using Base::image_is_usable;
  using Base::in_;
  using Base::J;
  using Base::L;
  using typename Base::T;
  using S = typename Links::Number;

 public:
  using Base::Base;
  using typename Base::Arguments;

  VL4POSE_DEVICE void operator()(std::int64_t first, int n) const {
    this->set_usable(first, n);
    const auto& links = in_.links;
    const int D = static_cast<int>(links.num_dimensions());
    S* const by_parent = this->template of_links<S>();
    this->for_each_link(n, [&](int i, int l, int parent, int child) {
      const std::int64_t b = first + i;
      if (!image_is_usable()[i]) {
        links.poison(b, l, gradient_of_nan(links.grad[b]));
        return;
      }
      const Coordinates<S> gradient =
          links.write(b, l, parent, child, this->is_visible(b, parent, child));
      for (int d = 0; d < D; ++d) by_parent[(i * L() + l) * D + d] = gradient[d];
    });
    T* const to = links.to.keypoints;
    if (!to) return;
    for_each(this->block_, n * J() * D, [&](int e) {
      const int d = e % D, joint = e / D % J(), i = e / D / J();
      if (!image_is_usable()[i]) {
        to[first * J() * D + e] = static_cast<T>(gradient_of_nan(links.grad[first + i]));
        return;
      }
      S by_keypoint{};
      in_.tree.for_each_link_of(joint, [&](int l, bool is_end) {
        const S& of_link = by_parent[(i * L() + l) * D + d];
        is_end ? by_keypoint -= of_link : by_keypoint += of_link;
      });
      to[first * J() * D + e] = static_cast<T>(asked_of(by_keypoint));
    });
  }
};

#if !defined(__CUDACC_RTC__)  // the host's part

// For each link a block keeps so many numbers of N.
template <class N, class Links>
LinksArguments<Links> links_arguments(const Links& links, const View<2>& visible, const Tree& tree,
                                      std::int64_t of_link, Range images) {
  LinksArguments<Links> arguments{links, visible, DeviceTree(tree), nullptr, nullptr, {}, {}};
  const std::int64_t L = tree.num_links();
  arguments.work.items = images;
  arguments.work.at_once = items_at_once(L);
  const std::int64_t n = arguments.work.at_once;
  Places places;
  arguments.layout = {places.take<bool>(n * L), places.take<bool>(n),
                      places.take<N>(n * L * of_link)};
  arguments.work.bytes = places.end();
  return arguments;
}

template <class Links, class Launcher>
void launch_link_totals(const Launcher& launcher, const Links& links, const View<2>& visible,
                        const Tree& tree, typename Links::Result* total,
                        typename Links::Result* per_link, Range images) {
  auto arguments = links_arguments<double>(links, visible, tree, 1, images);
  arguments.total = total;
  arguments.per_link = per_link;
  launcher.template run<LinkTotals<typename Launcher::Block, Links>>(arguments);
}

template <class Links, class Launcher>
void launch_link_gradients(const Launcher& launcher, const Links& links, const View<2>& visible,
                           const Tree& tree, Range images) {
  launcher.template run<LinkGradients<typename Launcher::Block, Links>>(
      links_arguments<typename Links::Number>(links, visible, tree, links.num_dimensions(),
                                              images));
}

#endif

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
