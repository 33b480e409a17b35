"""Link parameters that are the same for every image: fitted to annotations, kept in JSON files."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vl4pose._arrays import as_numpy, is_tensor
from vl4pose.skeleton import Skeleton, get_skeleton, nearest, resolve_skeleton

__all__ = ["fit_params", "load_params", "save_params"]

ArrayT = TypeVar("ArrayT")
Float64Array = npt.NDArray[np.float64]

_SMALLEST_VARIANCE = 1e-2


def fit_params(
    keypoints: ArrayT, visible: Any = None, skeleton: Skeleton | str | None = None
) -> ArrayT:
    """Fit the length and variance of each link to annotated poses.

    Parameters
    ----------
    keypoints : (N, J, 2) array or Tensor
        Annotated (x, y), in the pixels that the parameters are for: heatmap pixels.
    visible : (N, J) bool array or Tensor, optional
        Which joints are annotated; None means all. The coordinates of the others are never read
        and may be NaN.
    skeleton : Skeleton, str or None
        None goes by the number of joints.

    Returns
    -------
    params : (L, 2)
        Mean length in pixels and log of the variance in pixels squared of each link, over the
        poses in which both its joints are annotated. numpy or torch as ``keypoints``, on the same
        device; float32 for 16- and 32-bit keypoints, else float64.

    Raises
    ------
    TypeError
        ``visible must be bool``, ``keypoints must hold real numbers``.
    ValueError
        ``keypoints must be (N, J, 2)``, ``visible must be (N, J)``, ``keypoints must be finite
        where visible``; ``visible must leave a sample of every link``, naming those without.

    Notes
    -----
    The mean and the population variance (a division by n, not n - 1) of the lengths maximise the
    likelihood (Eq. 5 of the paper), the variance from 1e-2 pixels squared up: bones of zero length,
    or always of the same, occur in real annotations.

    Examples
    --------
    >>> arm = Skeleton("arm", ["shoulder", "elbow"], [("shoulder", "elbow")])
    >>> fit_params(np.array([[[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 7.0]]]), None, arm)
    array([[6., 0.]])
    """
    if isinstance(visible, str | Skeleton):
        name = repr(visible) if isinstance(visible, str) else "..."
        raise TypeError(
            f"visible must be a bool array (N, J) or None, got a {type(visible).__name__}: pass "
            f"skeleton={name} for the skeleton"
        )
    poses = as_numpy(keypoints)
    if poses.dtype.kind not in "fiu":
        raise TypeError(f"keypoints must hold real numbers, got {poses.dtype}")
    if poses.ndim != 3 or poses.shape[2] != 2:
        raise ValueError(f"keypoints must be (N, J, 2), got shape {poses.shape}")
    skeleton = resolve_skeleton(skeleton, poses.shape[1])
    annotated = np.ones(poses.shape[:2], np.bool_) if visible is None else as_numpy(visible)
    if annotated.dtype != np.bool_:
        raise TypeError(f"visible must be bool, got {annotated.dtype}")
    if annotated.shape != poses.shape[:2]:
        raise ValueError(f"visible must be (N, J) = {poses.shape[:2]}, got {annotated.shape}")
    unusable = np.argwhere(annotated & ~np.isfinite(poses).all(axis=2))
    if len(unusable):
        row, joint = unusable[0]
        raise ValueError(
            "keypoints must be finite where visible, "
            f"got {poses[row, joint].tolist()} for {skeleton.joints[joint]!r} in row {row}"
        )
    params = np.empty((skeleton.num_links, 2))
    unseen = []
    for link, (parent, child) in enumerate(skeleton.links):
        both = annotated[:, parent] & annotated[:, child]
        if not both.any():
            unseen.append(skeleton.link_names[link])
            continue
        bones = poses[both, child].astype(np.float64) - poses[both, parent]
        lengths = np.hypot(bones[:, 0], bones[:, 1])
        params[link] = lengths.mean(), np.log(max(lengths.var(), _SMALLEST_VARIANCE))
    if unseen:
        raise ValueError(
            f"visible must leave a sample of every link, got none of {', '.join(unseen)}"
        )
    fitted: ArrayT = _like(keypoints, params)
    return fitted


def load_params(path: str | os.PathLike[str], skeleton: Skeleton | str) -> Float64Array:
    """Read link parameters from a JSON file.

    Parameters
    ----------
    path : path
        One of three forms, [length, log-variance] being in heatmap pixels and pixels squared:

        - ``[[9.1, 2.0], ...]``: in the order of the skeleton's links;
        - ``{"links": ["head>neck", ...], "params": [[9.1, 2.0], ...]}``, optionally with the
          skeleton's name under ``"skeleton"``, which must then be that of ``skeleton``: this is
          what `save_params` writes;
        - ``{"head>neck": [9.1, 2.0], ...}``.

        Links that are named may come in any order, and short joint names such as ``lelb`` are
        accepted.
    skeleton : Skeleton or str
        Whose links the parameters are for.

    Returns
    -------
    params : (L, 2) float64
        In the order of the skeleton's links.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        ``<path> must hold link params: ...``, naming the link that is missing, unknown (with the
        nearest one) or there twice, or the value that is no pair of finite numbers;
        ``skeleton must be '...', which <path> is for``.
    """
    path = Path(path)
    skeleton = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    text = path.read_bytes()
    try:
        data = json.loads(text, object_pairs_hook=without_repeats)
        named = _skeleton_name(data)
        if named in (None, skeleton.name):
            return _parsed(data, skeleton)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} must hold link params: {error}") from error
    raise ValueError(f"skeleton must be {named!r}, which {path} is for, got {skeleton.name!r}")


def save_params(path: str | os.PathLike[str], params: Any, skeleton: Skeleton | str) -> None:
    """Write link parameters to a JSON file that `load_params` reads back exactly.

    Parameters
    ----------
    path : path
        The file; an existing one is replaced.
    params : (L, 2) array_like or Tensor
        Length in heatmap pixels and log-variance in pixels squared of each link.
    skeleton : Skeleton or str
        Names the links.

    Raises
    ------
    ValueError
        ``params must be (L, 2)``, ``params must be finite, and lengths at least 0``.
    """
    skeleton = get_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    rows = as_numpy(params).astype(np.float64)
    if rows.shape != (skeleton.num_links, 2):
        raise ValueError(f"params must be (L, 2) = ({skeleton.num_links}, 2), got {rows.shape}")
    data = {
        "skeleton": skeleton.name,
        "links": list(skeleton.link_names),
        "params": [
            _checked_row(link, row)
            for link, row in zip(skeleton.link_names, rows.tolist(), strict=True)
        ],
    }
    Path(path).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _skeleton_name(data: object) -> str | None:
    if not isinstance(data, Mapping) or "skeleton" not in data:
        return None
    name = data["skeleton"]
    if not isinstance(name, str):
        raise ValueError(f"skeleton must be a name, got {json.dumps(name)}")
    return name


def _parsed(data: object, skeleton: Skeleton) -> Float64Array:
    named: Iterable[tuple[object, object]]
    if isinstance(data, list):
        if len(data) != skeleton.num_links:
            raise ValueError(
                f"params must hold one row per link of {skeleton.name!r} ({skeleton.num_links}), "
                f"got {len(data)}"
            )
        named = zip(skeleton.link_names, data, strict=True)
    elif not isinstance(data, Mapping):
        raise ValueError(f"params must be a list or an object, got {json.dumps(data)}")
    elif "params" in data or "links" in data:
        named = _listed(data)
    else:
        named = data.items()
    return _in_order(named, skeleton)


def _listed(data: Mapping[str, object]) -> Iterable[tuple[object, object]]:
    keys = ("skeleton", "links", "params")
    for key in data:
        if key not in keys:
            raise ValueError(f"key must be {nearest(key, keys)}, got {key!r}")
    lists = []
    for key in ("links", "params"):
        value = data.get(key)
        if not isinstance(value, list):
            raise ValueError(f"{key} must be a list, got {json.dumps(value)}")
        lists.append(value)
    links, params = lists
    if len(links) != len(params):
        raise ValueError(f"params must be as many as links ({len(links)}), got {len(params)}")
    return zip(links, params, strict=True)


def _in_order(named: Iterable[tuple[object, object]], skeleton: Skeleton) -> Float64Array:
    params = np.empty((skeleton.num_links, 2))
    seen: set[str] = set()
    for name, row in named:
        link = _link_index(name, skeleton)
        full_name = skeleton.link_names[link]
        if full_name in seen:
            raise ValueError(f"links must be there once each, got {full_name!r} twice")
        seen.add(full_name)
        params[link] = _checked_row(full_name, row)
    missing = [name for name in skeleton.link_names if name not in seen]
    if missing:
        raise ValueError(
            f"links must be all of {skeleton.name!r} ({skeleton.num_links}), "
            f"got none for {', '.join(missing)}"
        )
    return params


def _link_index(name: object, skeleton: Skeleton) -> int:
    try:
        joints = tuple(skeleton.joint_index(joint.strip()) for joint in str(name).split(">"))
        return skeleton.links.index(joints)
    except ValueError:
        valid = nearest(str(name), skeleton.link_names)
        raise ValueError(f"link must be {valid}, got {name!r}") from None


def _checked_row(link: str, row: object) -> tuple[float, float]:
    numbers = row if isinstance(row, list) else []
    if len(numbers) != 2 or any(
        isinstance(number, bool) or not isinstance(number, int | float) for number in numbers
    ):
        raise ValueError(
            f"params must be pairs [length, log-variance], got {json.dumps(row)} for {link!r}"
        )
    length, log_variance = (float(number) for number in numbers)
    if not (0 <= length < math.inf and math.isfinite(log_variance)):
        raise ValueError(
            f"params must be finite, and lengths at least 0, got {json.dumps(row)} for {link!r}"
        )
    return length, log_variance


def without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object's dict (an ``object_pairs_hook``), or raise where a key is repeated."""
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"keys must be there once each, got {repeated!r} twice")
    return data


def _like(keypoints: Any, params: Float64Array) -> Any:
    if is_tensor(keypoints):
        torch = sys.modules["torch"]
        narrow = keypoints.is_floating_point() and keypoints.dtype != torch.float64
        dtype = torch.float32 if narrow else torch.float64
        return torch.from_numpy(params).to(keypoints.device, dtype)
    narrow = np.asarray(keypoints).dtype in (np.float16, np.float32)
    return params.astype(np.float32 if narrow else np.float64)
