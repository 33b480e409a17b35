"""Bad input to every public operation: the exact exception and message, and no harm done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import vl4pose
from vl4pose import Skeleton, _core, get_skeleton

B, J, L, K = 2, 14, 13, 5
HEATMAPS = np.random.default_rng(0).random((B, J, 8, 8), dtype=np.float32)
PARAMS = np.tile(np.float32([3.0, 1.0]), (L, 1))
KEYPOINTS = np.random.default_rng(1).random((B, J, 2), dtype=np.float32) * 8
VALUES = np.random.default_rng(2).random((B, J, K), dtype=np.float32)
COUNT = np.full((B, J), 3, np.int32)
VISIBLE = np.ones((B, J), np.bool_)
OFFSETS = np.zeros((L, 2), np.float32)
SCALE_TRIL = np.tile(np.eye(2, dtype=np.float32), (L, 1, 1))
GOOD = vl4pose.score(HEATMAPS, PARAMS)
HUGE = 2**70


class Case(NamedTuple):
    """One bad call, in the words of its name."""

    name: str
    call: Callable[[], object]
    error: type[Exception]
    message: str


class OnAnotherDevice:
    """An array in the memory of some device, as far as DLPack is concerned."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._number, 0

    def __dlpack__(self, **_: Any) -> Any:
        raise AssertionError("nobody may read this memory")


def analyze(heatmaps: Any = HEATMAPS, params: Any = PARAMS, **options: Any) -> object:
    return vl4pose.analyze(heatmaps, params, **options)


def score(heatmaps: Any = HEATMAPS, params: Any = PARAMS, **options: Any) -> object:
    return vl4pose.score(heatmaps, params, **options)


def refine(heatmaps: Any = HEATMAPS, params: Any = PARAMS, **options: Any) -> object:
    return vl4pose.refine(heatmaps, params, **options)


def local_maxima(heatmaps: Any = HEATMAPS, **options: Any) -> object:
    return vl4pose.local_maxima(heatmaps, **options)


def multi_peak_entropy(heatmaps: Any = HEATMAPS, **options: Any) -> object:
    return vl4pose.multi_peak_entropy(heatmaps, **options)


def decode(heatmaps: Any = HEATMAPS, **options: Any) -> object:
    return vl4pose.decode(heatmaps, **options)


def peak_weights(values: Any = VALUES, **options: Any) -> object:
    return vl4pose.peak_weights(values, **options)


def pose_log_likelihood(keypoints: Any = KEYPOINTS, params: Any = PARAMS, **more: Any) -> object:
    return vl4pose.pose_log_likelihood(keypoints, params, **more)


def offset_log_likelihood(
    keypoints: Any = KEYPOINTS, offsets: Any = OFFSETS, scale_tril: Any = SCALE_TRIL, **more: Any
) -> object:
    return vl4pose.offset_log_likelihood(
        keypoints, offsets, scale_tril, **{"skeleton": "lsp", **more}
    )


WITH_PARAMS = (analyze, score, refine)
WITH_PEAKS = (*WITH_PARAMS, local_maxima, multi_peak_entropy)
WITH_HEATMAPS = (*WITH_PEAKS, decode)
OF_POSES = (pose_log_likelihood, offset_log_likelihood)
OPERATIONS = (*WITH_HEATMAPS, peak_weights, *OF_POSES)

Bad = tuple[str, Any, type[Exception], str]  # what is bad, the value, and what comes of it


def cases(
    operations: Iterable[Callable[..., object]], argument: str, bad: Iterable[Bad]
) -> Iterator[Case]:
    """Every operation with every bad value of one argument."""
    for operation in operations:
        for what, value, error, message in bad:
            name = f"{operation.__name__}: {argument} {what}"
            yield Case(name, partial(operation, **{argument: value}), error, message)


def kinds(argument: str, good: np.ndarray) -> list[Bad]:
    """What no argument that is a floating array may be."""
    tensor = torch.from_numpy(good)
    kind = f"{argument} must be a NumPy array, a torch tensor or an array with __dlpack__, got "
    floating = f"{argument} must be float16, bfloat16, float32 or float64"
    native = f"{floating} in native byte order, got "
    with_mask = f"{argument} must be an array without a mask, got a masked array: fill it first"
    elsewhere = (
        f"{argument} must be in the memory of the CPU or of an NVIDIA GPU, got DLPack device 10:0"
    )
    without_data = (
        f"{argument} must be a tensor that holds data, got one that does not, as in "
        "torch.export, torch.vmap or torch.func, or with its storage freed"
    )
    freed = tensor.clone()
    freed.untyped_storage().resize_(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors call themselves a prototype
        nested = torch.nested.nested_tensor([tensor, tensor])
        jagged = torch.nested.nested_tensor([tensor, tensor], layout=torch.jagged)
    return [
        ("None", None, TypeError, kind + "NoneType"),
        ("a list", good.tolist(), TypeError, kind + "list"),
        ("a string", "heatmaps.npy", TypeError, kind + "str"),
        ("a number", 1.0, TypeError, kind + "float"),
        ("a NumPy number", np.float32(1), TypeError, kind + "float32"),
        ("a masked array", np.ma.masked_array(good), TypeError, with_mask),
        ("of int64", good.astype(np.int64), TypeError, native + "int64"),
        ("of uint8", good.astype(np.uint8), TypeError, native + "uint8"),
        ("of bool", good > 0, TypeError, native + "bool"),
        ("of complex64", good.astype(np.complex64), TypeError, native + "complex64"),
        ("of objects", good.astype(object), TypeError, native + "object"),
        ("of strings", good.astype("U3"), TypeError, native + "<U3"),
        ("of long doubles", good.astype("g"), TypeError, native + np.dtype("g").name),
        ("in big-endian order", good.astype(">f4"), TypeError, native + ">f4"),
        ("a tensor of int32", tensor.int(), TypeError, f"{floating}, got torch.int32"),
        ("a tensor of bool", tensor > 0, TypeError, f"{floating}, got torch.bool"),
        (
            "a tensor of complex64",
            tensor.to(torch.complex64),
            TypeError,
            f"{floating}, got torch.complex64",
        ),
        (
            "a tensor of float8",
            tensor.to(torch.float8_e4m3fn),
            TypeError,
            f"{floating}, got torch.float8_e4m3fn",
        ),
        (
            "a sparse tensor",
            tensor.to_sparse(),
            TypeError,
            f"{argument} must be a dense tensor, got layout torch.sparse_coo",
        ),
        (
            "a nested tensor",
            nested,
            TypeError,
            f"{argument} must be a dense tensor, got a nested one",
        ),
        (
            "a jagged tensor",
            jagged,
            TypeError,
            f"{argument} must be a dense tensor, got a nested one",
        ),
        ("a tensor without storage", freed, TypeError, without_data),
        ("on another DLPack device", OnAnotherDevice(10), RuntimeError, elsewhere),
    ]


def off_cpu(argument: str, good: np.ndarray) -> list[Bad]:
    """What the first array of an operation may not be either."""
    has_cuda = _core.build_info()["cuda"] is not None
    device = "xpu" if has_cuda else "cuda"
    devices = "on the CPU or a CUDA device" if has_cuda else "on the CPU"
    kernels = "kernels for these only" if has_cuda else "CPU kernels only"
    message = (
        f"{argument} must be {devices}, got {device}:0: this build of vl4pose has {kernels}; "
        f"pass {argument}.cpu()"
    )
    return [("on another device", on_device(good, device), RuntimeError, message)]


def on_device(good: np.ndarray, device: str) -> torch.Tensor:
    """Return a tensor of that shape on a device, as far as can be seen without one."""
    with FakeTensorMode():
        return torch.empty(good.shape, device=f"{device}:0")


def with_gradient(argument: str, good: np.ndarray) -> list[Bad]:
    """What no argument of an operation without a gradient may be."""
    tensor = torch.from_numpy(good)
    message = (
        f"{argument} must not require grad, got a tensor that does: this operation gives no "
        f"gradient; pass {argument}.detach() or call it under torch.no_grad()"
    )
    return [
        ("a tensor that requires grad", tensor.clone().requires_grad_(), RuntimeError, message),
        ("a parameter", torch.nn.Parameter(tensor.clone()), RuntimeError, message),
    ]


def on_devices(argument: str, good: np.ndarray, first: str) -> list[Bad]:
    """What the other arrays may not be beside a first one on the CPU."""
    message = f"{argument} must be on the device of {first} (cpu), got cuda:0"
    return [
        ("on another device", on_device(good, "cuda"), ValueError, message),
        ("on another DLPack device than the first", OnAnotherDevice(2), ValueError, message),
    ]


def shapes(rule: str, bad: dict[str, np.ndarray], got: str = "got ") -> list[Bad]:
    return [(what, array, ValueError, f"{rule}, {got}{array.shape}") for what, array in bad.items()]


def wrong_kind(rule: str, **values: Any) -> list[Bad]:
    """Values of the wrong type by name, each with how the message shows it."""
    return [(what, value, TypeError, f"{rule}, got {got}") for what, (value, got) in values.items()]


def out_of_range(rule: str, **values: Any) -> list[Bad]:
    """Values out of range by name, each with how the message shows it."""
    return [
        (what, value, ValueError, f"{rule}, got {got}") for what, (value, got) in values.items()
    ]


NOT_INTEGERS = {
    "float": (2.5, "2.5"),
    "whole_float": (2.0, "2.0"),
    "nan": (np.nan, "nan"),
    "bool": (True, "True"),
    "string": ("5", "'5'"),
    "none": (None, "None"),
    "list": ([5], "list"),
    "array": (np.array([3, 3]), "ndarray"),
    "tensor": (torch.tensor(3), "Tensor"),
    "numpy_float": (np.float32(3), "np.float32(3.0)"),
}
NOT_NUMBERS = {
    "string": ("1", "'1'"),
    "bool": (True, "True"),
    "complex": (1j, "1j"),
    "list": ([1.0], "list"),
    "array": (np.array([1.0, 2.0]), "ndarray"),
    "tensor": (torch.tensor(1.0), "Tensor"),
}
TEMPERATURES = [
    *out_of_range(
        "temperature must be between 1e-06 and 1e+06",
        zero=(0, "0"),
        negative=(-1.0, "-1.0"),
        nan=(np.nan, "nan"),
        infinite=(np.inf, "inf"),
        too_small=(1e-7, "1e-07"),
        too_large=(1e7, "10000000.0"),
        huge=(10**400, "an integer of 1329 bits"),
        numpy_nan=(np.float32("nan"), "np.float32(nan)"),
    ),
    *wrong_kind("temperature must be a real number", none=(None, "None"), **NOT_NUMBERS),
]
SKELETONS = "one of lsp, mpii, coco, hand, icvl"

OF_ARRAYS = [
    *cases(WITH_HEATMAPS, "heatmaps", kinds("heatmaps", HEATMAPS)),
    *cases(WITH_HEATMAPS, "heatmaps", off_cpu("heatmaps", HEATMAPS)),
    *cases((analyze, refine, decode), "heatmaps", with_gradient("heatmaps", HEATMAPS)),
    *cases((analyze, refine), "params", with_gradient("params", PARAMS)),
    *cases(
        WITH_HEATMAPS,
        "heatmaps",
        [
            *shapes(
                "heatmaps must have axes (B, J, H, W) or (J, H, W)",
                {
                    "of rank 0": np.array(1, np.float32),
                    "of rank 1": HEATMAPS[0, 0, 0],
                    "of rank 2": HEATMAPS[0, 0],
                    "of rank 6": HEATMAPS[None, None],
                    "of rank 33": np.zeros((1,) * 33),
                },
                "got shape ",
            ),
            (
                "of rank 5",
                HEATMAPS[:, None],
                ValueError,
                "heatmaps must have axes (B, J, H, W) or (J, H, W), got shape (2, 1, 14, 8, 8) "
                "(take one stack, as heatmaps[:, -1])",
            ),
            *shapes(
                "heatmaps must have J, H and W of at least 1",
                {
                    "without joints": HEATMAPS[:, :0],
                    "without rows": HEATMAPS[:, :, :0],
                    "without columns": HEATMAPS[..., :0],
                    "of one image without rows": HEATMAPS[0, :, :0],
                },
                "got shape ",
            ),
            *shapes(
                "heatmaps must have H and W of at most 2^24",
                {
                    "too high": np.broadcast_to(np.float32(0), (1, J, 2**24 + 1, 1)),
                    "too wide": np.broadcast_to(np.float32(0), (J, 1, 2**24 + 1)),
                },
                "got shape ",
            ),
        ],
    ),
    *cases((*WITH_PARAMS, pose_log_likelihood), "params", kinds("params", PARAMS)),
    *cases(WITH_PARAMS, "params", on_devices("params", PARAMS, "heatmaps")),
    *cases((pose_log_likelihood,), "params", on_devices("params", PARAMS, "keypoints")),
    *cases(
        (*WITH_PARAMS, pose_log_likelihood),
        "params",
        shapes(
            "params must have shape (2, 13, 2) or (13, 2)",
            {
                "of another number of links": PARAMS[:-1],
                "of another batch": np.stack([PARAMS] * 3),
                "of batch 1": PARAMS[None],
                "of three numbers a link": np.zeros((L, 3), np.float32),
                "flat": PARAMS.ravel(),
                "transposed": PARAMS.T,
                "empty": PARAMS[:0],
            },
        ),
    ),
    *(
        case._replace(name=f"{case.name}, beside one image", call=partial(case.call, first[0]))
        for operations, first in ((WITH_PARAMS, HEATMAPS), ((pose_log_likelihood,), KEYPOINTS))
        for case in cases(
            operations,
            "params",
            shapes(
                "params must have shape (13, 2)",
                {"of a batch": PARAMS[None], "of another number of links": PARAMS[1:]},
            ),
        )
    ),
    *cases((peak_weights,), "values", kinds("values", VALUES)),
    *cases(
        (peak_weights,),
        "values",
        shapes(
            "values must have axes (B, J, K) or (J, K)",
            {"of rank 1": VALUES[0, 0], "of rank 4": VALUES[None]},
            "got shape ",
        ),
    ),
    *cases(
        (peak_weights,),
        "count",
        [
            *wrong_kind(
                "count must be a NumPy array, a torch tensor or an array with __dlpack__",
                list=(COUNT.tolist(), "list"),
                number=(3, "int"),
            ),
            *wrong_kind(
                "count must be integer",
                float=(COUNT.astype(np.float64), "float64"),
                bool=(COUNT > 0, "bool"),
                objects=(COUNT.astype(object), "object"),
                durations=(COUNT.astype("m8[s]"), "timedelta64[s]"),
                float_tensor=(torch.from_numpy(COUNT).double(), "torch.float64"),
            ),
            *shapes(
                "count must have shape (2, 14)",
                {
                    "of one image": COUNT[0],
                    "of fewer joints": COUNT[:, 1:],
                    "full": VALUES.astype(int),
                },
            ),
            *out_of_range(
                "count must be between 0 and K = 5",
                negative=(-COUNT, "-3"),
                above_K=(COUNT * 2, "6"),
                above_int32=(COUNT.astype(np.int64) * 2**40, "3298534883328"),
                above_int64=(COUNT.astype(np.uint64) * np.uint64(2**62), "13835058055282163712"),
                tensor=(torch.from_numpy(COUNT) * 2, "6"),
            ),
            *on_devices("count", COUNT, "values"),
        ],
    ),
    *cases(OF_POSES, "keypoints", kinds("keypoints", KEYPOINTS)),
    *cases(
        (pose_log_likelihood,),
        "keypoints",
        shapes(
            "keypoints must have axes (B, J, D) or (J, D) with D of 2",
            {
                "of rank 1": KEYPOINTS[0, 0],
                "of rank 4": KEYPOINTS[None],
                "in three dimensions": np.zeros((B, J, 3), np.float32),
                "transposed": KEYPOINTS.transpose(0, 2, 1),
            },
            "got shape ",
        ),
    ),
    *cases(
        (offset_log_likelihood,),
        "keypoints",
        shapes(
            "keypoints must have axes (B, J, D) or (J, D) with D of 2 or 3",
            {
                "of rank 1": KEYPOINTS[0, 0],
                "in one dimension": KEYPOINTS[..., :1],
                "in four dimensions": np.zeros((B, J, 4), np.float32),
            },
            "got shape ",
        ),
    ),
    *cases(
        OF_POSES,
        "keypoints",
        shapes(
            "keypoints must have J of at least 1",
            {"without joints": KEYPOINTS[:, :0]},
            "got shape ",
        ),
    ),
    *cases(
        OF_POSES,
        "visible",
        [
            *wrong_kind(
                "visible must be a NumPy array, a torch tensor or an array with __dlpack__",
                list=(VISIBLE.tolist(), "list"),
                bool=(True, "bool"),
                string=("all", "str"),
            ),
            *wrong_kind(
                "visible must be bool",
                int=(VISIBLE.astype(np.int64), "int64"),
                float=(VISIBLE.astype(np.float32), "float32"),
                tensor=(torch.from_numpy(VISIBLE).byte(), "torch.uint8"),
            ),
            *shapes(
                "visible must have shape (2, 14)",
                {
                    "of one image": VISIBLE[0],
                    "of batch 1": VISIBLE[:1],
                    "of fewer joints": VISIBLE[:, 1:],
                    "of coordinates": np.ones((B, J, 2), np.bool_),
                },
            ),
            *on_devices("visible", VISIBLE, "keypoints"),
        ],
    ),
    *cases((offset_log_likelihood,), "offsets", kinds("offsets", OFFSETS)),
    *cases((offset_log_likelihood,), "offsets", on_devices("offsets", OFFSETS, "keypoints")),
    *cases(
        (offset_log_likelihood,),
        "offsets",
        shapes(
            "offsets must have shape (2, 13, 2) or (13, 2)",
            {
                "in three dimensions": np.zeros((L, 3), np.float32),
                "of another batch": np.zeros((3, L, 2), np.float32),
                "of another number of links": OFFSETS[1:],
            },
        ),
    ),
    *cases((offset_log_likelihood,), "scale_tril", kinds("scale_tril", SCALE_TRIL)),
    *cases(
        (offset_log_likelihood,), "scale_tril", on_devices("scale_tril", SCALE_TRIL, "keypoints")
    ),
    *cases(
        (offset_log_likelihood,),
        "scale_tril",
        shapes(
            "scale_tril must have shape (2, 13, 2, 2) or (13, 2, 2)",
            {
                "in three dimensions": np.zeros((L, 3, 3), np.float32),
                "of diagonals": np.ones((L, 2), np.float32),
                "of another number of links": SCALE_TRIL[1:],
            },
        ),
    ),
]

OF_OPTIONS = [
    *cases(
        WITH_PEAKS,
        "num_peaks",
        [
            *out_of_range(
                "num_peaks must be between 1 and 4096",
                zero=(0, "0"),
                negative=(-1, "-1"),
                too_many=(4097, "4097"),
                huge=(HUGE, "1180591620717411303424"),
                minus_huge=(-HUGE, "-1180591620717411303424"),
                longer_than_python_prints=(10**5000, "an integer of 16610 bits"),
            ),
            *wrong_kind("num_peaks must be an integer", **NOT_INTEGERS),
        ],
    ),
    *cases(
        WITH_PEAKS,
        "min_distance",
        [
            *out_of_range(
                "min_distance must be at least 1",
                zero=(0, "0"),
                negative=(-3, "-3"),
                minus_huge=(-HUGE, "-1180591620717411303424"),
            ),
            *wrong_kind("min_distance must be an integer", **NOT_INTEGERS),
        ],
    ),
    *cases(
        WITH_PEAKS,
        "exclude_border",
        [
            *out_of_range("exclude_border must be at least 0", negative=(-1, "-1")),
            *wrong_kind(
                "exclude_border must be an integer",
                float=(1.5, "1.5"),
                one_per_axis=((1, 1), "tuple"),
                string=("True", "'True'"),
                none=(None, "None"),
            ),
        ],
    ),
    *(
        case
        for threshold in ("threshold_abs", "threshold_rel")
        for case in cases(
            WITH_PEAKS,
            threshold,
            [
                *out_of_range(f"{threshold} must be a real number or None", nan=(np.nan, "nan")),
                *wrong_kind(f"{threshold} must be a real number or None", **NOT_NUMBERS),
            ],
        )
    ),
    *cases(
        (*WITH_PARAMS, multi_peak_entropy, peak_weights),
        "temperature",
        TEMPERATURES,
    ),
    *cases(
        OPERATIONS,
        "num_threads",
        [
            *out_of_range("num_threads must be at least 1", zero=(0, "0"), negative=(-1, "-1")),
            *wrong_kind(
                "num_threads must be an integer",
                bool=(True, "True"),
                float=(1.5, "1.5"),
                string=("2", "'2'"),
                list=([1], "list"),
            ),
        ],
    ),
    *cases(
        (analyze, score),
        "method",
        [
            *out_of_range(
                "method must be one of expected, max, marginal, sum (did you mean 'expected'?)",
                misspelt=("expectd", "'expectd'"),
                in_capitals=("EXPECTED", "'EXPECTED'"),
            ),
            *out_of_range(
                "method must be one of expected, max, marginal, sum",
                unknown=("viterbi", "'viterbi'"),
                empty=("", "''"),
            ),
            *wrong_kind(
                "method must be one of expected, max, marginal, sum",
                none=(None, "None"),
                number=(3, "3"),
                list=(["max"], "list"),
            ),
        ],
    ),
    *cases(
        (analyze, refine),
        "objective",
        [
            *out_of_range(
                "objective must be one of map, eq6 (did you mean 'map'?)",
                misspelt=("mapp", "'mapp'"),
            ),
            *out_of_range("objective must be one of map, eq6", unknown=("viterbi", "'viterbi'")),
            *wrong_kind("objective must be one of map, eq6", none=(None, "None"), number=(6, "6")),
        ],
    ),
    *cases(
        (analyze, refine, decode),
        "subpixel",
        [
            *out_of_range(
                "subpixel must be one of quarter, centroid, dark (did you mean 'quarter'?) or None",
                misspelt=("quater", "'quater'"),
            ),
            *out_of_range(
                "subpixel must be one of quarter, centroid, dark or None",
                unknown=("linear", "'linear'"),
                none_in_quotes=("none", "'none'"),
            ),
            *wrong_kind(
                "subpixel must be one of quarter, centroid, dark or None",
                bool=(False, "False"),
                number=(0.25, "0.25"),
            ),
        ],
    ),
    *cases(
        (*WITH_PARAMS, *OF_POSES),
        "skeleton",
        [
            *out_of_range(
                f"skeleton must be {SKELETONS} (did you mean 'mpii'?)", misspelt=("mpi", "'mpi'")
            ),
            *out_of_range(
                f"skeleton must be {SKELETONS} (did you mean 'lsp'?)", in_capitals=("LSP", "'LSP'")
            ),
            *out_of_range(f"skeleton must be {SKELETONS}", unknown=("yoga", "'yoga'")),
            *out_of_range(
                "skeleton must have as many joints as the arrays (14)",
                of_more_joints=("mpii", "'mpii' with 16"),
                of_one_joint=(Skeleton("point", ["it"], []), "'point' with 1"),
            ),
            *wrong_kind(
                "skeleton must be a Skeleton, a preset's name or None",
                number=(14, "14"),
                list=(["lsp"], "list"),
                the_class=(Skeleton, "type"),
                path=(Path("lsp.json"), type(Path()).__name__),
            ),
        ],
    ),
    *(
        Case(
            f"{operation.__name__}: joints that no preset goes by",
            partial(operation, first[:, :5]),
            ValueError,
            "skeleton must be given for 5 joints: only 14, 16, 17 and 21 have a default among the "
            "presets lsp (14), mpii (16), coco (17), hand (21), icvl (16)",
        )
        for operation, first in (
            *((operation, HEATMAPS) for operation in WITH_PARAMS),
            (pose_log_likelihood, KEYPOINTS),
        )
    ),
    Case(
        "offset_log_likelihood: skeleton by default",
        partial(offset_log_likelihood, skeleton=None),
        TypeError,
        "skeleton must be a Skeleton or a preset's name, got None",
    ),
    *cases(
        OF_POSES,
        "per_link",
        wrong_kind(
            "per_link must be True or False",
            string=("no", "'no'"),
            number=(1, "1"),
            none=(None, "None"),
        ),
    ),
]


def skeleton(**bad: Any) -> Skeleton:
    """A chain of three joints, but for what is bad."""
    good = {"name": "arm", "joints": ["sho", "elb", "wri"], "links": [(0, 1), (1, 2)]}
    return Skeleton(**{**good, **bad})


def from_text(text: str | bytes) -> Skeleton:
    """Read a skeleton from a file of this text, in the current directory."""
    path = Path("bad.json")
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Skeleton.from_file(path)


def set_name() -> None:
    get_skeleton("lsp").name = "other"


def delete_name() -> None:
    del get_skeleton("lsp").name


def add_attribute() -> None:
    get_skeleton("lsp").colour = "red"  # type: ignore[attr-defined]


IN_FILE = "bad.json must hold a skeleton as JSON: "
ARM = "one of sho, elb, wri"
FOUR = ["a", "b", "c", "d"]
OF_SKELETONS = [
    *cases((skeleton,), "name", wrong_kind("name must be a string", number=(3, "3"))),
    *cases(
        (skeleton,),
        "joints",
        [
            *wrong_kind(
                "joints must be a sequence of names",
                string=("abc", "'abc'"),
                none=(None, "None"),
                number=(3, "3"),
                set=({"a", "b", "c"}, "set"),
                dict=({"a": 0}, "dict"),
                iterator=(iter(["a"]), "list_iterator"),
            ),
            *wrong_kind(
                "joints must hold strings",
                numbers=([1, 2, 3], "1"),
                one_none=(["a", None, "c"], "None"),
                bytes=(b"abc", "97"),
                array=(np.arange(3), "0"),
            ),
            *out_of_range("joints must hold at least one name", empty=([], "none")),
            *out_of_range(
                "joints must have distinct names",
                repeated=(["a", "b", "a"], "'a' twice"),
                repeated_by_alias=(["lelb", "wrist", "left_elbow"], "'left_elbow' twice"),
            ),
            *out_of_range(
                "joints must have names, not empty and without '>'",
                one_empty=(["a", "", "c"], "''"),
                with_arrow=(["a", "b>c", "c"], "'b>c'"),
            ),
        ],
    ),
    *cases(
        (skeleton,),
        "links",
        [
            *wrong_kind(
                "links must be a sequence of pairs of joints",
                none=(None, "None"),
                number=(2, "2"),
                string=("sho>elb", "'sho>elb'"),
                dict=({"sho": "elb"}, "dict"),
                set=({(0, 1), (1, 2)}, "set"),
            ),
            *wrong_kind(
                "links must hold pairs of joints as tuples",
                joined=(["sho>elb", "elb>wri"], "'sho>elb'"),
                two_letters=(["ab", "bc"], "'ab'"),
                of_three=([(0, 1, 2)], "(0, 1, 2)"),
                of_one=([(0, 1), (2,)], "(2,)"),
                sets=([{0, 1}, {1, 2}], "{0, 1}"),
                numbers=([0, 1], "0"),
                flat_array=(np.arange(2), "0"),
            ),
            *wrong_kind(
                "links must name joints by string or index",
                floats=([(0.0, 1.0), (1, 2)], "0.0"),
                bools=([(False, True), (1, 2)], "False"),
                with_none=([(None, 1), (1, 2)], "None"),
            ),
            *out_of_range(
                f"links must name joints, each {ARM} (did you mean 'elb'?)",
                to_misspelt_joint=([("sho", "elbo"), ("elb", "wri")], "'elbo'"),
            ),
            *out_of_range(
                f"links must name joints, each {ARM}",
                to_unknown_joint=([("sho", "elb"), ("elb", "hand")], "'hand'"),
            ),
            *out_of_range(
                "links must index joints 0 to 2",
                index_too_large=([(0, 1), (1, 3)], "3"),
                index_negative=([(0, 1), (1, -1)], "-1"),
                index_huge=([(0, 1), (1, HUGE)], "1180591620717411303424"),
            ),
            *out_of_range(
                "links must have no cycle",
                all_in_a_cycle=([(0, 1), (1, 2), (2, 0)], "'sho' > 'elb' > 'wri' > 'sho'"),
                to_itself=([(0, 1), (2, 2)], "'wri' > 'wri'"),
                there_and_back=([(0, 1), (1, 2), (1, 0)], "'sho' > 'elb' > 'sho'"),
            ),
            *out_of_range(
                "links must give each joint one parent",
                two_parents=([(0, 2), (1, 2)], "two for 'wri': 'sho' and 'elb'"),
            ),
            *out_of_range(
                "links must be distinct", repeated=([(0, 1), (1, 2), (1, 2)], "'elb>wri' twice")
            ),
            *out_of_range(
                "links must reach every joint",
                joint_missing=([("sho", "elb")], "none for 'wri'"),
                none_at_all=([], "none for 'sho'"),
            ),
        ],
    ),
    Case(
        "skeleton: links with two roots",
        partial(skeleton, joints=FOUR, links=[("a", "b"), ("c", "d")]),
        ValueError,
        "links must leave one root, got 2: 'a', 'c'",
    ),
    Case(
        "skeleton: links with a cycle beside the tree",
        partial(skeleton, joints=[*FOUR, "e"], links=[(0, 1), (2, 3), (3, 4), (4, 2)]),
        ValueError,
        "links must have no cycle, got 'c' > 'd' > 'e' > 'c'",
    ),
    Case(
        "skeleton: one joint that links to itself",
        partial(skeleton, joints=["a"], links=[(0, 0)]),
        ValueError,
        "links must have no cycle, got 'a' > 'a'",
    ),
    Case(
        "skeleton: links to a misspelt alias",
        partial(skeleton, joints=["left_elbow", "left_wrist"], links=[("lelb", "left_wirst")]),
        ValueError,
        "links must name joints, each one of left_elbow, left_wrist (did you mean 'left_wrist'?), "
        "got 'left_wirst'",
    ),
    *cases(
        (skeleton,),
        "pairs",
        [
            *wrong_kind(
                "pairs must be a sequence of pairs of joints",
                number=(2, "2"),
                string=("sho", "'sho'"),
                dict=({"sho": "elb"}, "dict"),
            ),
            *wrong_kind(
                "pairs must hold pairs of joints as tuples", of_three=([(0, 1, 2)], "(0, 1, 2)")
            ),
            *out_of_range(
                "pairs must name each joint once at most",
                of_a_joint_with_itself=([("sho", "sho")], "'sho' twice"),
                of_a_joint_with_two=([(0, 1), (1, 2)], "'elb' twice"),
            ),
            *out_of_range(
                f"pairs must name joints, each {ARM}", of_unknown_joint=([("sho", "hip")], "'hip'")
            ),
            *out_of_range("pairs must index joints 0 to 2", index_too_large=([(0, 3)], "3")),
        ],
    ),
    *cases(
        (skeleton,),
        "sigmas",
        [
            *wrong_kind(
                "sigmas must be a sequence of numbers",
                number=(0.1, "0.1"),
                string=("123", "'123'"),
                dict=({"sho": 0.1}, "dict"),
                scalar_array=(np.array(0.1), "ndarray"),
            ),
            *wrong_kind(
                "sigmas must hold real numbers",
                strings=(["1", "2", "3"], "'1'"),
                bools=([True, True, True], "True"),
                with_none=([0.1, None, 0.1], "None"),
                complex_ones=([0.1, 0.1, 1j], "1j"),
                matrix=(np.ones((3, 1)), "list"),
            ),
            *out_of_range(
                "sigmas must hold one number per joint (3)",
                too_few=([0.1, 0.1], "2"),
                too_many=([0.1] * 4, "4"),
            ),
            *out_of_range(
                "sigmas must be positive and finite",
                with_zero=([0.1, 0.0, 0.1], "0.0"),
                negative=([0.1, 0.1, -1], "-1"),
                with_nan=([np.nan, 0.1, 0.1], "nan"),
                infinite=([0.1, 0.1, np.inf], "inf"),
                huge=([0.1, 0.1, 10**400], "an integer of 1329 bits"),
            ),
        ],
    ),
    Case(
        "joint_index: unknown",
        lambda: skeleton().joint_index("hip"),
        ValueError,
        f"joint must be {ARM}, got 'hip'",
    ),
    Case(
        "joint_index: misspelt",
        lambda: skeleton().joint_index("Elbo"),
        ValueError,
        f"joint must be {ARM} (did you mean 'elb'?), got 'Elbo'",
    ),
    Case(
        "joint_index: an alias of a joint that is not there",
        lambda: Skeleton("arm", ["left_wrist"], []).joint_index("rwri"),
        ValueError,
        "joint must be one of left_wrist (did you mean 'left_wrist'?), got 'rwri'",
    ),
    Case(
        "joint_index: an index",
        lambda: skeleton().joint_index(1),  # type: ignore[arg-type]
        TypeError,
        "joint must be a string, got 1",
    ),
    Case(
        "joint_index: a list",
        lambda: skeleton().joint_index(["elb"]),  # type: ignore[arg-type]
        TypeError,
        "joint must be a string, got list",
    ),
    Case(
        "get_skeleton: misspelt",
        lambda: get_skeleton("cocoo"),
        ValueError,
        f"skeleton must be {SKELETONS} (did you mean 'coco'?), got 'cocoo'",
    ),
    Case(
        "get_skeleton: None",
        lambda: get_skeleton(None),  # type: ignore[arg-type]
        TypeError,
        "skeleton must be a preset's name, got None",
    ),
    Case(
        "a skeleton's attribute set",
        set_name,
        AttributeError,
        "Skeleton is immutable: cannot set 'name'",
    ),
    Case(
        "a skeleton's attribute deleted",
        delete_name,
        AttributeError,
        "Skeleton is immutable: cannot delete 'name'",
    ),
    Case(
        "a skeleton's attribute added",
        add_attribute,
        AttributeError,
        "Skeleton is immutable: cannot set 'colour'",
    ),
    Case(
        "from_file: missing",
        lambda: Skeleton.from_file("missing.json"),
        FileNotFoundError,
        "[Errno 2] No such file or directory: 'missing.json'",
    ),
    *(
        Case(f"from_file: {what}", partial(from_text, text), ValueError, IN_FILE + message)
        for what, text, message in (
            ("empty", "", "Expecting value: line 1 column 1 (char 0)"),
            ("no JSON", "joints: a", "Expecting value: line 1 column 1 (char 0)"),
            (
                "binary",
                b"\xff\xfe",
                "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
            ),
            ("a list", "[]", "expected an object, got list"),
            ("null", "null", "expected an object, got None"),
            ("a number", "3", "expected an object, got 3"),
            ("a missing key", '{"name": "a", "joints": ["a"]}', "key 'links' is missing"),
            (
                "a misspelt key",
                '{"name": "a", "joint": ["a"], "links": []}',
                "key must be one of name, joints, links, pairs, sigmas (did you mean 'joints'?), "
                "got 'joint'",
            ),
            (
                "no tree",
                '{"name": "a", "joints": ["a", "b"], "links": []}',
                "links must reach every joint, got none for 'a'",
            ),
            (
                "links of null",
                '{"name": "a", "joints": ["a"], "links": null}',
                "links must be a sequence of pairs of joints, got None",
            ),
            (
                "joints as an object",
                '{"name": "a", "joints": {"a": 0}, "links": []}',
                "joints must be a sequence of names, got dict",
            ),
            (
                "sigmas of NaN",
                '{"name": "a", "joints": ["a"], "links": [], "sigmas": [NaN]}',
                "sigmas must be positive and finite, got nan",
            ),
        )
    ),
]

CASES = [*OF_ARRAYS, *OF_OPTIONS, *OF_SKELETONS]


def test_names_are_distinct() -> None:
    names = [case.name for case in CASES]
    assert len(names) >= 60
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("call", "error", "message"), [pytest.param(*c[1:], id=c[0]) for c in CASES]
)
def test_bad_input(
    call: Callable[[], object],
    error: type[Exception],
    message: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path_factory.getbasetemp())
    with pytest.raises(Exception) as caught:  # noqa: PT011  # which one is the next line's business
        call()
    assert type(caught.value) is error
    assert str(caught.value) == message
    # No second error in the traceback, unless on purpose.
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    np.testing.assert_array_equal(vl4pose.score(HEATMAPS, PARAMS), GOOD)


def test_negative_view_is_read_with_its_sign() -> None:
    values = torch.from_numpy(HEATMAPS)
    view = torch.complex(values, values).conj().imag
    assert view.is_neg()
    expected = vl4pose.score(-HEATMAPS, PARAMS)
    assert not np.array_equal(expected, GOOD)
    np.testing.assert_array_equal(vl4pose.score(view, PARAMS).numpy(), expected)


class OfAnotherLibrary:
    """An array in CPU memory whose library has its own name for the CPU."""

    device = "TFRT_CPU_0"

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)


def test_devices_of_other_libraries_are_not_told_by_name() -> None:
    params = OfAnotherLibrary(PARAMS)
    np.testing.assert_array_equal(vl4pose.score(HEATMAPS, params), GOOD)
    np.testing.assert_array_equal(vl4pose.score(OfAnotherLibrary(HEATMAPS), PARAMS), GOOD)
    assert torch.equal(vl4pose.score(torch.from_numpy(HEATMAPS), params), torch.from_numpy(GOOD))
