#include "kernels.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

extern const Kernels<float> float_kernels;
extern const Kernels<double> double_kernels;

const Kernels<float> float_kernels{score,
                                   peak_weights,
                                   pose_log_likelihood,
                                   offset_log_likelihood,
                                   score_backward,
                                   peak_weights_backward,
                                   pose_log_likelihood_backward,
                                   offset_log_likelihood_backward,
                                   farthest_row};
const Kernels<double> double_kernels{score,
                                     peak_weights,
                                     pose_log_likelihood,
                                     offset_log_likelihood,
                                     score_backward,
                                     peak_weights_backward,
                                     pose_log_likelihood_backward,
                                     offset_log_likelihood_backward,
                                     farthest_row};

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
