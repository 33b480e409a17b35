"""Fixed link parameters: the fit to annotations, and the JSON forms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vl4pose
from vl4pose import Skeleton, fit_params, get_skeleton, load_params, save_params

CHAIN = Skeleton("chain", ["a", "b", "c"], [("a", "b"), ("b", "c")])
LSP = get_skeleton("lsp")


@pytest.fixture
def poses() -> np.ndarray:
    return np.random.default_rng(0).normal(20, 8, (30, 14, 2))


def test_mean_length_and_log_of_the_population_variance() -> None:
    poses = np.array([[[0, 0], [3, 4], [3, 14]], [[1, 1], [1, 8], [9, 8]]], np.float64)
    lengths = np.array([[5, 10], [7, 8]])
    expected = np.stack([lengths.mean(0), np.log([1.0, 1.0])], axis=1)
    np.testing.assert_allclose(fit_params(poses, None, CHAIN), expected, rtol=1e-15)


def test_fit_is_the_most_likely_one(poses: np.ndarray) -> None:
    params = fit_params(poses)

    def likelihood(shift: np.ndarray) -> np.ndarray:
        terms = vl4pose.pose_log_likelihood(
            poses, params + shift, skeleton="lsp", visible=None, per_link=True
        )
        return terms.sum(axis=0)

    best = likelihood(np.zeros(2))
    for shift in ([0.01, 0], [-0.01, 0], [0, 0.01], [0, -0.01]):
        assert (likelihood(np.array(shift)) < best).all()


def test_smallest_variance() -> None:
    poses = np.zeros((3, 3, 2))
    poses[:, 2] = [[3.0, 4.0], [3.0, 4.0], [3.0, 4.1]]
    mean_length = (5 + 5 + np.hypot(3.0, 4.1)) / 3
    expected = [[0.0, np.log(1e-2)], [mean_length, np.log(1e-2)]]
    np.testing.assert_allclose(fit_params(poses, None, CHAIN), expected, rtol=1e-15)


def test_invisible_joints_are_never_read(poses: np.ndarray) -> None:
    visible = np.random.default_rng(1).random((30, 14)) < 0.7
    expected = []
    for parent, child in LSP.links:
        both = visible[:, parent] & visible[:, child]
        lengths = np.linalg.norm(poses[both, child] - poses[both, parent], axis=1)
        expected.append([lengths.mean(), np.log(lengths.var())])
    for value in (np.nan, np.inf, 1e300):
        poses[~visible] = value
        np.testing.assert_allclose(fit_params(poses, visible, "lsp"), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int64, np.float64),
    ],
)
def test_numpy_in_numpy_out(poses: np.ndarray, dtype: Any, result: Any) -> None:
    params = fit_params(poses.astype(dtype), None, LSP)
    assert type(params) is np.ndarray
    assert params.dtype == result
    assert params.shape == (13, 2)


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int32, torch.float64),
    ],
)
def test_torch_in_torch_out(poses: np.ndarray, dtype: torch.dtype, result: torch.dtype) -> None:
    tensor = torch.from_numpy(poses).to(dtype)
    visible = torch.ones(30, 14, dtype=torch.bool)
    params = fit_params(tensor, visible, "lsp")
    assert isinstance(params, torch.Tensor)
    assert params.dtype == result
    expected = fit_params(tensor.double().numpy(), visible.numpy(), "lsp")
    torch.testing.assert_close(params, torch.from_numpy(expected).to(result), rtol=0, atol=0)


def test_one_joint_has_no_params() -> None:
    assert fit_params(np.zeros((4, 1, 2)), None, Skeleton("dot", ["dot"], [])).shape == (0, 2)


def changed(array: np.ndarray, index: Any, value: float) -> np.ndarray:
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("keypoints", "visible", "error", "message"),
    [
        (np.zeros((2, 3), complex), None, TypeError, "keypoints must hold real numbers"),
        (np.zeros((2, 3), bool), None, TypeError, "keypoints must hold real numbers, got bool"),
        (np.zeros((3, 2)), None, ValueError, "keypoints must be (N, J, 2), got shape (3, 2)"),
        (np.zeros((4, 3, 3)), None, ValueError, "keypoints must be (N, J, 2), got shape (4, 3, 3)"),
        (np.zeros((4, 5, 2)), None, ValueError, "skeleton must have as many joints"),
        (np.zeros((4, 3, 2)), np.ones((4, 3)), TypeError, "visible must be bool, got float64"),
        (
            np.zeros((4, 3, 2)),
            np.ones((3, 3), bool),
            ValueError,
            "visible must be (N, J) = (4, 3), got (3, 3)",
        ),
        (
            changed(np.zeros((4, 3, 2)), (2, 1, 0), np.nan),
            None,
            ValueError,
            "keypoints must be finite where visible, got [nan, 0.0] for 'b' in row 2",
        ),
        (
            np.zeros((4, 3, 2)),
            changed(np.ones((4, 3), bool), (slice(None), 2), False),
            ValueError,
            "visible must leave a sample of every link, got none of b>c",
        ),
        (
            np.zeros((0, 3, 2)),
            None,
            ValueError,
            "visible must leave a sample of every link, got none of a>b, b>c",
        ),
    ],
)
def test_annotations_that_cannot_be_fitted(
    keypoints: np.ndarray, visible: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        fit_params(keypoints, visible, CHAIN)


def test_saved_params_come_back_exactly(tmp_path: Path, poses: np.ndarray) -> None:
    path = tmp_path / "bones.json"
    params = fit_params(poses)
    for given in (params, params.tolist(), torch.from_numpy(params)):
        save_params(path, given, "lsp")
        loaded = load_params(path, LSP)
        assert loaded.dtype == np.float64
        np.testing.assert_array_equal(loaded, params)


ROWS = [[1.5, 0.5], [2, -1]]


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        {"links": ["a>b", "b>c"], "params": ROWS},
        {"skeleton": "chain", "links": ["b>c", "a>b"], "params": ROWS[::-1]},
        {"a>b": ROWS[0], "b>c": ROWS[1]},
        {"b>c": ROWS[1], "a > b": ROWS[0]},
    ],
)
def test_forms(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "bones.json"
    path.write_text(json.dumps(data))
    np.testing.assert_array_equal(load_params(path, CHAIN), ROWS)


def test_short_joint_names(tmp_path: Path) -> None:
    names = dict(zip(LSP.link_names, range(13), strict=True))
    data = {
        name.replace("left_shoulder", "lsho").replace("right_ankle", "rankl"): [i, 0]
        for name, i in reversed(names.items())
    }
    path = tmp_path / "bones.json"
    path.write_text(json.dumps(data))
    np.testing.assert_array_equal(load_params(path, "lsp")[:, 0], range(13))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[1, 2]", "Expecting ',' delimiter"),
        ("3", "params must be a list or an object, got 3"),
        ("[[1, 2]]", "params must hold one row per link of 'chain' (2), got 1"),
        ('{"a>b": [1, 2]}', "links must be all of 'chain' (2), got none for b>c"),
        ("{}", "links must be all of 'chain' (2), got none for a>b, b>c"),
        (
            '{"a>b": [1, 2], "b>d": [1, 2]}',
            "link must be one of a>b, b>c (did you mean 'b>c'?), got 'b>d'",
        ),
        ('{"a>b": [1, 2], "b": [1, 2]}', "link must be one of a>b, b>c (did you mean"),
        ('{"a>b>c": [1, 2]}', "link must be one of a>b, b>c"),
        ('{"b>a": [1, 2]}', "link must be one of a>b, b>c"),
        ('{"a>b": [1, 2], "a>b": [1, 2]}', "keys must be there once each, got 'a>b' twice"),
        ('{"a>b": [1, 2], "a >b": [1, 2]}', "links must be there once each, got 'a>b' twice"),
        (
            '{"links": [1, "b>c"], "params": [[1, 2], [1, 2]]}',
            "link must be one of a>b, b>c, got 1",
        ),
        (
            '{"links": ["a>b"], "params": [[1, 2], [1, 2]]}',
            "params must be as many as links (1), got 2",
        ),
        ('{"params": [[1, 2], [1, 2]]}', "links must be a list, got null"),
        ('{"links": ["a>b"], "params": 1}', "params must be a list, got 1"),
        (
            '{"link": [], "params": []}',
            "key must be one of skeleton, links, params (did you mean 'links'?), got 'link'",
        ),
        ("[[1, 2], [1]]", "params must be pairs [length, log-variance], got [1] for 'b>c'"),
        ("[[1, 2], 1]", "params must be pairs [length, log-variance], got 1 for 'b>c'"),
        ('[[1, 2], [1, "2"]]', 'params must be pairs [length, log-variance], got [1, "2"]'),
        ("[[1, 2], [true, 2]]", "params must be pairs [length, log-variance], got [true, 2]"),
        ("[[1, 2], [NaN, 2]]", "params must be finite, and lengths at least 0, got [NaN, 2]"),
        ("[[1, 2], [1, -Infinity]]", "params must be finite, and lengths at least 0"),
        (
            "[[-1, 2], [1, 2]]",
            "params must be finite, and lengths at least 0, got [-1, 2] for 'a>b'",
        ),
        (f"[[1, 2], [1{'0' * 400}, 2]]", "int too large to convert to float"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bones.json"
    path.write_text(text)
    message = f"{path} must hold link params: {complaint}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        load_params(path, CHAIN)


def test_file_for_another_skeleton(tmp_path: Path, poses: np.ndarray) -> None:
    path = tmp_path / "bones.json"
    save_params(path, fit_params(poses), "lsp")
    message = f"skeleton must be 'lsp', which {path} is for, got 'mpii'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_params(path, "mpii")
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"skeleton": "mpii"}))
    with pytest.raises(ValueError, match="must hold link params: link"):
        load_params(path, "mpii")
    path.write_text(json.dumps(data | {"skeleton": None}))
    with pytest.raises(ValueError, match="skeleton must be a name, got null"):
        load_params(path, "lsp")


@pytest.mark.parametrize(
    ("visible", "message"),
    [
        ("lsp", "got a str: pass skeleton='lsp' for the skeleton"),
        (LSP, "got a Skeleton: pass skeleton=... for the skeleton"),
    ],
)
def test_skeleton_in_the_place_of_visible(poses: np.ndarray, visible: Any, message: str) -> None:
    message = f"visible must be a bool array (N, J) or None, {message}"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        fit_params(poses, visible)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        load_params(tmp_path / "nothing.json", CHAIN)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([[1, 2]], "params must be (L, 2) = (2, 2), got (1, 2)"),
        ([[1, 2], [np.nan, 2]], "params must be finite, and lengths at least 0, got [NaN, 2.0]"),
        ([[1, 2], [-1, 2]], "params must be finite, and lengths at least 0, got [-1.0, 2.0]"),
    ],
)
def test_params_that_are_not_saved(tmp_path: Path, params: Any, message: str) -> None:
    path = tmp_path / "bones.json"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        save_params(path, params, CHAIN)
    assert not path.exists()
