// The operations that the *_cuda.cu define, of which kernels_cuda.cu makes the tables of cuda.h.
#pragma once

#include "cuda.h"

namespace vl4pose {
inline namespace VL4POSE_CPU_CAPABILITY {

template <class T>
void score(const ScoreInputs&, const ScoreOptions&, const ScoreOutputs<T>&, const CudaStream&);
template <class T>
void peak_weights(const View<3>&, const View<2>&, double, T*, const CudaStream&);
template <class T>
void pose_log_likelihood(const View<3>&, const View<3>&, const View<2>&, const Tree&, T*, T*,
                         const CudaStream&);
template <class T>
void offset_log_likelihood(const View<3>&, const View<3>&, const View<4>&, const View<2>&,
                           const Tree&, T*, T*, const CudaStream&);
template <class T>
void score_backward(const ScoreBackwardInputs&, const ScoreOptions&, const ScoreGradients<T>&,
                    const CudaStream&);
template <class T>
void peak_weights_backward(const View<3>&, const View<3>&, const View<2>&, double, const View<3>&,
                           T*, T*, const CudaStream&);
template <class T>
void pose_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&, const View<2>&,
                                  const Tree&, const PoseTangents&, const PoseGradients<T>&,
                                  const CudaStream&);
template <class T>
void offset_log_likelihood_backward(const View<2>&, const View<3>&, const View<3>&, const View<4>&,
                                    const View<2>&, const Tree&, const OffsetTangents&,
                                    const OffsetGradients<T>&, const CudaStream&);

}  // namespace VL4POSE_CPU_CAPABILITY
}  // namespace vl4pose
