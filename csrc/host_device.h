// What code needs that is compiled for the CPU and for GPUs alike.
#pragma once

#if defined(__CUDACC__)
#define VL4POSE_HOST_DEVICE __host__ __device__
#define VL4POSE_DEVICE __device__
#else
#define VL4POSE_HOST_DEVICE
#define VL4POSE_DEVICE
#endif
