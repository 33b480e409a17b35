// What code needs that is compiled for the CPU and for GPUs alike. On a GPU, a function that is not
// inlined keeps what it needs in registers out of those of its caller.
#pragma once

#if defined(__CUDACC__)
#define VL4POSE_HOST_DEVICE __host__ __device__
#define VL4POSE_DEVICE __device__
#define VL4POSE_NOINLINE __noinline__
#else
#define VL4POSE_HOST_DEVICE
#define VL4POSE_DEVICE
#define VL4POSE_NOINLINE
#endif
