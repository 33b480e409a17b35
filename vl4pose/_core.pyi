from collections.abc import Callable, Sequence
from typing import Any, TypedDict

class BuildInfo(TypedDict):
    version: str
    compiler: str
    cuda: str | None

class CudaStream:
    def __init__(self, device: int, handle: int, empty: Callable[[int], Any]) -> None: ...

class CudaMemory:
    def __init__(self, device: int, handle: int, shape: Sequence[int], dtype: str) -> None: ...
    def __dlpack__(self, *, stream: int | None = None, **kwargs: Any) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...

class Tree:
    def __init__(self, parents: Sequence[int], child_of_link: Sequence[int]) -> None: ...

class ScoreOptions:
    def __init__(
        self,
        num_peaks: int,
        min_distance: int,
        threshold_abs: float | None,
        threshold_rel: float | None,
        exclude_border: int,
        temperature: float,
        method: str,
        objective: str,
        subpixel: str,
    ) -> None: ...
    @property
    def num_peaks(self) -> int: ...

def score(
    heatmaps: Any,
    params: Any | None,
    tree: Tree | None,
    options: ScoreOptions,
    names: tuple[str, ...],
    outputs: list[Any],
    where: int | CudaStream,
    /,
) -> None: ...
def peak_weights(
    values: Any, count: Any | None, temperature: float, weights: Any, where: int | CudaStream, /
) -> None: ...
def pose_log_likelihood(
    keypoints: Any,
    params: Any,
    visible: Any | None,
    tree: Tree,
    result: Any,
    per_link: bool,
    where: int | CudaStream,
    /,
) -> None: ...
def offset_log_likelihood(
    keypoints: Any,
    offsets: Any,
    scale_tril: Any,
    visible: Any | None,
    tree: Tree,
    result: Any,
    per_link: bool,
    where: int | CudaStream,
    /,
) -> None: ...
def score_backward(
    xy: Any,
    values: Any,
    count: Any,
    params: Any | None,
    grad_score: Any | None,
    grad_entropy: Any | None,
    tree: Tree | None,
    options: ScoreOptions,
    values_tangent: Any | None,
    params_tangent: Any | None,
    by_values: Any | None,
    by_params: Any | None,
    score_tangent: Any | None,
    entropy_tangent: Any | None,
    where: int | CudaStream,
    /,
) -> None: ...
def peak_weights_backward(
    grad: Any,
    values: Any,
    count: Any | None,
    temperature: float,
    tangent: Any | None,
    by_values: Any | None,
    weights_tangent: Any | None,
    where: int | CudaStream,
    /,
) -> None: ...
def pose_log_likelihood_backward(
    grad: Any,
    keypoints: Any,
    params: Any,
    visible: Any | None,
    tree: Tree,
    keypoints_tangent: Any | None,
    params_tangent: Any | None,
    by_keypoints: Any | None,
    by_params: Any | None,
    per_link_tangent: Any | None,
    where: int | CudaStream,
    /,
) -> None: ...
def offset_log_likelihood_backward(
    grad: Any,
    keypoints: Any,
    offsets: Any,
    scale_tril: Any,
    visible: Any | None,
    tree: Tree,
    keypoints_tangent: Any | None,
    offsets_tangent: Any | None,
    scale_tril_tangent: Any | None,
    by_keypoints: Any | None,
    by_offsets: Any | None,
    by_scale_tril: Any | None,
    per_link_tangent: Any | None,
    where: int | CudaStream,
    /,
) -> None: ...
def k_centre(
    embeddings: Any,
    labelled: Any,
    first: int,
    min_separation: float,
    indices: Any,
    distances: Any,
    num_threads: int,
    /,
) -> int: ...
def cuda_devices() -> list[str]: ...
def cuda_device_of(address: int, /) -> int: ...
def build_info() -> BuildInfo: ...
def cpu_capabilities() -> list[str]: ...
def cpu_capability() -> str: ...
def set_cpu_capability(name: str, /) -> None: ...
