"""vl4pose.metrics: known answers, an independent implementation, what does not count, errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from new_process import run_python

import vl4pose
from vl4pose import metrics
from vl4pose.metrics import joint_errors, mpjpe, oks, pck, pck_auc, pck_of_errors, pckh, pcp

LSP, COCO = vl4pose.get_skeleton("lsp"), vl4pose.get_skeleton("coco")


def poses(num: int, num_joints: int = 14, dimensions: int = 2, seed: int = 0) -> Any:
    """Predictions, annotations, what is annotated: the rest is NaN."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0, 200, (num, num_joints, dimensions))
    keypoints = truth + rng.normal(0, 1, truth.shape) * rng.gamma(1, 30, (num, num_joints, 1))
    visible = rng.random((num, num_joints)) < 0.8
    truth[~visible] = np.nan
    keypoints[~visible & (rng.random(visible.shape) < 0.5)] = np.nan
    return keypoints, truth, visible


def pairs_of(*arrays: Any) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(arrays[0].shape[0]) for j in range(arrays[0].shape[1]))


def distance(a: Any, b: Any) -> float:
    return math.sqrt(sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True)))


def torso(truth: Any, visible: Any) -> float:
    found = []
    for a, b in (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip")):
        a, b = LSP.joints.index(a), LSP.joints.index(b)
        if visible[a] and visible[b]:
            found.append(distance(truth[a], truth[b]))
    return max(found, default=0.0)


# --- known answers


def test_pck_of_a_torso_of_five():
    truth = np.zeros((1, 14, 2))
    truth[0, LSP.joint_index("left_shoulder")] = [3, 4]
    keypoints = truth.copy()
    keypoints[0, :3, 0] += [0.5, 1.0, 2.5]  # 0.1, 0.2 and 0.5 of the torso
    metric = pck(keypoints, truth, thresholds=[0.05, 0.2, 0.5])
    np.testing.assert_allclose(metric.mean, [11 / 14, 13 / 14, 1])
    np.testing.assert_array_equal(metric.per_joint[1, :3], [1, 1, 0])  # the distance itself counts
    assert metric.parts == LSP.joints
    assert metric.num_images == 1
    one = pck(keypoints, truth, thresholds=0.2)
    assert isinstance(one.mean, float)
    assert one.per_joint.shape == one.count.shape == (14,)


def test_references():
    truth = np.zeros((2, 14, 2))
    truth[0, LSP.joint_index("head")] = [6, 8]
    truth[0, LSP.joint_index("left_ankle")] = [-4, 30]
    lengths = metrics.reference_lengths
    np.testing.assert_array_equal(lengths(truth, normalize_by="head"), [10, np.nan])
    np.testing.assert_array_equal(lengths(truth, normalize_by="box"), [30, np.nan])
    visible = np.ones((2, 14), np.bool_)
    visible[0, LSP.joint_index("left_ankle")] = False
    np.testing.assert_array_equal(lengths(truth, visible, normalize_by="box"), [8, np.nan])
    boxes = [[5, 5, 30, 40], [0, 0, 7, 0]]
    np.testing.assert_allclose(lengths(truth, normalize_by="head", boxes=boxes), [30, np.nan])
    np.testing.assert_array_equal(lengths(truth, normalize_by="box", boxes=boxes), [40, np.nan])
    np.testing.assert_array_equal(lengths(truth, normalize_by=[0, 2]), [np.nan, 2])
    np.testing.assert_array_equal(lengths(truth, normalize_by=[np.nan, 2]), [np.nan, 2])


def test_a_torso_is_the_longer_diagonal_of_those_annotated():
    truth = np.zeros((3, 14, 2))
    truth[:, LSP.joint_index("left_shoulder")] = [3, 4]
    truth[:, LSP.joint_index("right_shoulder")] = [1, 0]
    visible = np.ones((3, 14), np.bool_)
    visible[1, LSP.joint_index("right_hip")] = False
    visible[2, [LSP.joint_index("right_hip"), LSP.joint_index("left_hip")]] = False
    np.testing.assert_array_equal(metrics.reference_lengths(truth, visible), [5, 1, np.nan])


def test_pckh_as_mpii_has_it():
    truth = np.zeros((1, 16, 2))
    keypoints = truth + np.array([14.9, 0])
    # A head box of 30 x 40 has a diagonal of 50, of which 0.6 are 30, of which half are 15.
    assert pckh(keypoints, truth, head_boxes=[[0, 0, 30, 40]]).mean == 1
    assert pckh(keypoints + np.array([0.2, 0]), truth, head_boxes=[[0, 0, 30, 40]]).mean == 0


def test_the_area_under_the_curve_is_its_integral():
    keypoints, truth, visible = poses(40)
    grid = np.linspace(0, 0.5, 5001)
    curve = pck(keypoints, truth, visible, thresholds=grid)
    area = pck_auc(keypoints, truth, visible, max_threshold=0.5)
    assert area.mean == pytest.approx(np.trapezoid(curve.mean, grid) / 0.5, abs=2e-4)
    expected = np.trapezoid(curve.per_joint, grid, axis=0) / 0.5
    np.testing.assert_allclose(area.per_joint, expected, atol=2e-4)


def test_both_definitions_of_pcp():
    arm = vl4pose.Skeleton("arm", ["shoulder", "elbow", "hand"], [(0, 1), (1, 2)])
    truth = np.array([[[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]]])
    keypoints = truth + np.array([[0.0, 0.0], [0.0, 6.0], [0.0, 5.0]])
    strict = pcp(keypoints, truth, skeleton=arm)
    np.testing.assert_array_equal(strict.per_joint, [0, 0])  # the elbow is off by 6 of 10
    loose = pcp(keypoints, truth, skeleton=arm, definition="loose")
    np.testing.assert_array_equal(loose.per_joint, [1, 0])  # means of 3 and of 5.5
    assert strict.parts == ("shoulder>elbow", "elbow>hand")
    assert pcp(keypoints, truth, skeleton=arm, thresholds=0.6).mean == 1


def test_mpjpe_by_hand():
    truth = np.zeros((1, 3, 3))
    truth[0, 1] = [0, 3, 0]
    keypoints = truth + np.array([[1, 2, 2], [1, 2, 2], [1, 2, 5]])
    chain = vl4pose.Skeleton("chain", ["a", "b", "c"], [(0, 1), (1, 2)])
    assert mpjpe(keypoints, truth).mean == pytest.approx((3 + 3 + math.sqrt(30)) / 3)
    aligned = mpjpe(keypoints, truth, align="root", skeleton=chain)
    np.testing.assert_allclose(aligned.per_joint, [0, 0, 3])
    for root in ("c", 2):
        moved = mpjpe(keypoints, truth, align="root", root=root, skeleton=chain)
        np.testing.assert_allclose(moved.per_joint, [3, 3, 0])


def test_oks_by_hand():
    truth = np.zeros((2, 17, 2))
    keypoints = truth.copy()
    nose, hip = COCO.joint_index("nose"), COCO.joint_index("left_hip")
    assert COCO.sigmas is not None
    keypoints[0, nose, 0] = 2 * COCO.sigmas[nose] * 30  # one k * s away
    keypoints[0, hip, 0] = 2 * 2 * COCO.sigmas[hip] * 30
    keypoints[1] += 1e6
    visible = np.ones((2, 17), np.bool_)
    visible[1, 1:] = False
    metric = oks(keypoints, truth, visible, areas=[900.0, 900.0])
    first = (15 + math.exp(-0.5) + math.exp(-2)) / 17
    assert metric.mean == pytest.approx(first / 2)  # of people, not of joints
    assert metric.per_joint[nose] == pytest.approx(math.exp(-0.5) / 2)
    assert metric.per_joint[hip] == pytest.approx(math.exp(-2))


def test_a_metric_is_shown_by_its_mean():
    truth = np.zeros((3, 14, 2))
    metric = pck(truth, truth, thresholds=[0.1, 0.2], normalize_by=np.ones(3))
    assert repr(metric) == "<Metric PCK: mean [1. 1.], 14 joints, 3 images>"
    truth[:, 0] = 1
    assert repr(pcp(truth, truth)) == "<Metric PCP: mean 1., 13 links, 3 images>"


# --- an independent implementation, in plain loops


@pytest.mark.parametrize("seed", range(3))
def test_pck_pckh_and_auc_by_loops(seed: int):
    keypoints, truth, visible = poses(30, seed=seed)
    head, neck = LSP.joint_index("head"), LSP.joint_index("neck")
    heads = [
        distance(t[head], t[neck]) if v[head] and v[neck] else 0.0
        for t, v in zip(truth, visible, strict=True)
    ]
    torsos = [torso(t, v) for t, v in zip(truth, visible, strict=True)]
    boxes = [
        max(max(c) - min(c) for c in t[v].T) if v.any() else 0.0
        for t, v in zip(truth, visible, strict=True)
    ]
    given_lengths = np.random.default_rng(seed).uniform(20, 80, 30)
    for by, lengths in (
        ("torso", torsos),
        ("head", heads),
        ("box", boxes),
        (given_lengths, given_lengths),
    ):
        right, area, count = np.zeros((3, 14))
        for i, j in pairs_of(visible):
            if visible[i, j] and lengths[i] > 0:
                error = distance(keypoints[i, j], truth[i, j]) / lengths[i]
                count[j] += 1
                right[j] += error <= 0.3
                area[j] += max(0, 1 - error / 0.3) if math.isfinite(error) else 0
        metric = pck(keypoints, truth, visible, thresholds=0.3, normalize_by=by)
        np.testing.assert_array_equal(metric.count, count)
        np.testing.assert_allclose(metric.per_joint, right / count)
        assert metric.mean == pytest.approx(right.sum() / count.sum())
        curve = pck_auc(keypoints, truth, visible, max_threshold=0.3, normalize_by=by)
        np.testing.assert_allclose(curve.per_joint, area / count)
        if isinstance(by, str) and by == "head":
            of_heads = pckh(keypoints, truth, visible, thresholds=0.3)
            np.testing.assert_array_equal(of_heads.values, metric.values)


@pytest.mark.parametrize("definition", ["strict", "loose"])
def test_pcp_by_loops(definition: Any):
    keypoints, truth, visible = poses(40)
    metric = pcp(keypoints, truth, visible, definition=definition)
    for link, (a, b) in enumerate(LSP.links):
        right, count = 0, 0
        for i in range(40):
            if visible[i, a] and visible[i, b]:
                length = distance(truth[i, a], truth[i, b])
                ends = [distance(keypoints[i, j], truth[i, j]) for j in (a, b)]
                ends = [end if math.isfinite(end) else math.inf for end in ends]
                worst = max(ends) if definition == "strict" else sum(ends) / 2
                count += 1
                right += worst <= 0.5 * length
        assert metric.count[link] == count
        assert metric.per_joint[link] == pytest.approx(right / count)


def complete(keypoints: Any, visible: Any) -> Any:
    return np.where(np.isnan(keypoints) & visible[..., None], 0, keypoints)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_mpjpe_by_loops(dimensions: int):
    keypoints, truth, visible = poses(30, dimensions=dimensions)
    root = LSP.joint_index("left_hip")
    plain, moved = [], []
    for i, j in pairs_of(visible):
        if visible[i, j]:
            plain.append(distance(keypoints[i, j], truth[i, j]))
            if visible[i, root]:
                shift = [k - t for k, t in zip(keypoints[i, root], truth[i, root], strict=True)]
                moved.append(distance(keypoints[i, j] - shift, truth[i, j]))
    assert mpjpe(keypoints, truth, visible).mean == pytest.approx(np.mean(plain))
    metric = mpjpe(keypoints, truth, visible, align="root", root="lhip", skeleton=LSP)
    assert metric.mean == pytest.approx(np.mean(moved))
    assert metric.count.sum() == len(moved)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_procrustes_is_that_of_an_optimiser(dimensions: int):
    """No similarity that a search finds is nearer than ours; and scipy's, where all is seen."""
    optimize = pytest.importorskip("scipy.optimize")
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    keypoints, truth, visible = poses(4, dimensions=dimensions)
    metric = mpjpe(keypoints, truth, visible, align="procrustes")
    squares = np.where(metric.counted, metric.values, 0) ** 2
    for i in range(4):
        a, b = keypoints[i, visible[i]], truth[i, visible[i]]

        def moved(x: Any, a: Any = a) -> Any:
            turn = rotation.from_rotvec([0, 0, x[1]] if dimensions == 2 else x[1:4]).as_matrix()
            return x[0] * a @ turn[:dimensions, :dimensions].T + x[-dimensions:]

        def loss(x: Any, b: Any = b, moved: Any = moved) -> Any:
            return (moved(x) - b).ravel()

        num = 1 + (1 if dimensions == 2 else 3) + dimensions
        starts = np.random.default_rng(i).normal(0, 1, (8, num))
        starts[:, 0] = 1
        best = min(2 * optimize.least_squares(loss, start, x_scale="jac").cost for start in starts)
        assert squares[i].sum() == pytest.approx(best, rel=1e-4)


@given(st.integers(0, 2**31), st.sampled_from([2, 3]))
@settings(max_examples=30, deadline=None)
def test_similar_poses_have_no_error_after_procrustes(seed: int, dimensions: int):
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 100, (3, 8, dimensions))
    turn, _ = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    keypoints = rng.uniform(0.1, 10) * truth @ turn + rng.normal(0, 100, dimensions)
    np.testing.assert_allclose(mpjpe(keypoints, truth, align="procrustes").values, 0, atol=1e-8)
    mirrored = keypoints * np.r_[-1, np.ones(dimensions - 1)]
    assert mpjpe(mirrored, truth, align="procrustes").mean > 1


# --- what does not count


METRICS = {
    "pck": lambda *poses: pck(*poses),
    "pck of boxes": lambda *poses: pck(*poses, normalize_by="box", thresholds=[0.1, 0.5]),
    "pckh": lambda *poses: pckh(*poses),
    "auc": lambda *poses: pck_auc(*poses),
    "pcp": lambda *poses: pcp(*poses),
    "mpjpe": lambda *poses: mpjpe(*poses),
    "root": lambda *poses: mpjpe(*poses, align="root"),
    "procrustes": lambda *poses: mpjpe(*poses, align="procrustes"),
    "oks": lambda *poses: oks(*poses, areas=np.full(len(poses[0]), 5e3), sigmas=[0.1] * 14),
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


@every_metric
def test_what_is_not_annotated_is_not_read(metric: Any):
    keypoints, truth, visible = poses(12)
    first = metric(complete(keypoints, visible), truth, visible)
    other = np.where(visible[..., None], complete(keypoints, visible), 1e9)
    second = metric(other, np.where(visible[..., None], truth, -1e300), visible)
    np.testing.assert_array_equal(first.per_joint, second.per_joint)
    np.testing.assert_array_equal(first.mean, second.mean)
    assert np.isfinite(first.mean).all()


@every_metric
def test_an_image_without_joints_changes_nothing(metric: Any):
    keypoints, truth, visible = poses(12)
    keypoints = complete(keypoints, visible)
    first = metric(keypoints, truth, visible)
    visible = np.concatenate([visible, np.zeros((1, 14), np.bool_)])
    nothing = np.full((1, 14, 2), np.nan)
    second = metric(np.concatenate([keypoints, nothing]), np.concatenate([truth, nothing]), visible)
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.per_joint, second.per_joint)
    np.testing.assert_array_equal(first.count, second.count)
    assert first.num_images == second.num_images
    ours, theirs = (m.interval(num_resamples=200) for m in (first, second))
    np.testing.assert_array_equal(ours.low, theirs.low)
    assert np.isfinite(ours.low).all()


@every_metric
def test_nothing_at_all_is_nan_without_a_warning(metric: Any):
    nothing = np.full((2, 14, 2), np.nan)
    made = metric(nothing, nothing, np.zeros((2, 14), np.bool_))
    assert np.isnan(made.mean).all()
    assert np.isnan(made.per_joint).all()
    assert np.isnan(made.interval().low).all()
    assert made.num_images == made.count.sum() == 0
    empty = metric(np.zeros((0, 14, 2)), np.zeros((0, 14, 2)), None)
    assert np.isnan(empty.mean).all()


def test_people_without_a_length_are_left_out():
    keypoints, truth, visible = poses(5)
    truth[2], visible[2] = 50.0, True  # all joints in one place
    keypoints[2] = 50.0
    kept = np.arange(5) != 2
    for by in ("torso", "head", "box"):
        metric = pck(keypoints, truth, visible, normalize_by=by)
        rest = pck(keypoints[kept], truth[kept], visible[kept], normalize_by=by)
        assert not metric.counted[2].any()
        assert metric.mean == rest.mean
    assert not pcp(keypoints, truth, visible).counted[2].any()
    areas = np.array([5e3, 0, 5e3, np.nan, 5e3])
    of_some = oks(keypoints, truth, visible, areas=areas, sigmas=[0.1] * 14)
    np.testing.assert_array_equal(of_some.counted.any(axis=1), [1, 0, 1, 0, 1])
    assert np.isfinite(of_some.mean)


def test_a_prediction_that_is_not_finite_is_a_miss():
    truth = np.random.default_rng(0).uniform(0, 100, (2, 14, 2))
    for value in (np.nan, np.inf, -np.inf):
        keypoints = truth.copy()
        keypoints[0, 3, 0] = value
        for metric in (pck, pckh, pck_auc):
            assert metric(keypoints, truth).mean == pytest.approx(27 / 28)
        assert pcp(keypoints, truth).mean == pytest.approx(24 / 26)  # an elbow is of two links
        assert pcp(keypoints, truth, definition="loose").mean == pytest.approx(24 / 26)
        similarity = oks(keypoints, truth, areas=[1e3, 1e3], sigmas=[0.1] * 14)
        assert similarity.mean == pytest.approx(27 / 28)
        assert joint_errors(keypoints, truth)[0, 3] == np.inf
        message = "keypoints must be finite where visible, got others for joint 3 in row 0"
        with pytest.raises(ValueError, match=message):
            mpjpe(keypoints, truth)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_poses_of_few_joints_say_nothing_after_procrustes(dimensions: int):
    rng = np.random.default_rng(0)
    keypoints, truth = rng.normal(size=(2, 5, 14, dimensions))
    visible = np.arange(14) < np.arange(1, 6)[:, None]  # 1 to 5 joints
    metric = mpjpe(keypoints, truth, visible, align="procrustes")
    np.testing.assert_array_equal(metric.counted.any(axis=1), visible.sum(axis=1) > dimensions)
    assert metric.mean > 0.01
    keypoints[:] = 7.0  # all joints in one place: the nearest similarity is the truth's centre
    middle = mpjpe(keypoints, truth, align="procrustes").values
    expected = np.linalg.norm(truth - truth.mean(axis=1, keepdims=True), axis=2)
    np.testing.assert_allclose(middle, expected)


def test_errors_go_into_pck():
    keypoints, truth, visible = poses(20)
    errors = joint_errors(keypoints, truth, visible)
    for thresholds in (0.2, [0.1, 0.5]):
        ours = pck_of_errors(errors, thresholds)
        metric = pck(keypoints, truth, visible, thresholds=thresholds)
        np.testing.assert_array_equal(ours.per_joint, metric.per_joint)
        np.testing.assert_array_equal(ours.mean, metric.mean)


def test_tensors_are_arrays():
    torch = pytest.importorskip("torch")
    keypoints, truth, visible = poses(6)
    tensors = [torch.from_numpy(array) for array in (keypoints, truth, visible)]
    tensors[0].requires_grad_()
    assert pck(*tensors).mean == pck(keypoints, truth, visible).mean


# --- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"keypoints": "abc"}, TypeError, "keypoints must hold real numbers, got"),
        ({"keypoints": np.zeros((2, 14))}, ValueError, r"must be \(N, J, 2\), got shape \(2, 14\)"),
        ({"truth": np.zeros((3, 14, 2))}, ValueError, r"truth must be of the shape of keypoints, "),
        ({"truth": np.full((2, 14, 2), np.nan)}, ValueError, "truth must be finite where visible"),
        ({"visible": np.ones((2, 14))}, TypeError, "must be bool, got float64: of flags as COCO's"),
        ({"visible": 0.2}, TypeError, r"bool array \(N, J\) or None, got 0.2: other options go by"),
        ({"visible": "lsp"}, TypeError, r"bool array \(N, J\) or None, got 'lsp': other options"),
        (
            {"visible": np.ones((2, 13), bool)},
            ValueError,
            r"visible must be \(N, J\) = \(2, 14\), got \(2, 13\)",
        ),
        ({"thresholds": -0.1}, ValueError, "thresholds must be .* at least 0 and finite, got -0.1"),
        ({"thresholds": []}, ValueError, "thresholds must be .*, got none"),
        ({"thresholds": True}, TypeError, "thresholds must be .*, got True"),
        ({"thresholds": "half"}, TypeError, "thresholds must be .*, got 'half'"),
        (
            {"normalize_by": "torsoo"},
            ValueError,
            r"normalize_by must be one of torso, head, box \(did you mean 'torso'\?\) or an array",
        ),
        ({"normalize_by": None}, TypeError, "normalize_by must be .*, got None"),
        ({"normalize_by": [1.0]}, ValueError, r"normalize_by must be \(N,\) = \(2,\), got shape"),
        ({"normalize_by": [1.0, -2.0]}, ValueError, "lengths of at least 0, finite, got -2"),
        ({"boxes": np.ones((2, 4))}, ValueError, "boxes must be None unless normalize_by is"),
        (
            {"boxes": np.ones((2, 3)), "normalize_by": "box"},
            ValueError,
            r"boxes must be \(N, 4\) = \(2, 4\), got shape \(2, 3\)",
        ),
        ({"skeleton": "coco"}, ValueError, "skeleton must have as many joints as the arrays"),
        ({"skeleton": 3}, TypeError, "skeleton must be a Skeleton"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str):
    arguments = {"keypoints": np.zeros((2, 14, 2)), "truth": np.zeros((2, 14, 2))} | options
    with pytest.raises(error, match=message):
        pck(**arguments)


def test_more_wrong_arguments():
    zeros = np.zeros((2, 14, 2))
    hand = np.zeros((1, 21, 2))
    with pytest.raises(ValueError, match="for skeleton 'hand', which lacks some of left_shoulder"):
        pck(hand, hand)
    with pytest.raises(ValueError, match=r"or come with boxes, for skeleton 'coco'.*got 'head'"):
        pckh(np.zeros((1, 17, 2)), np.zeros((1, 17, 2)))
    with pytest.raises(ValueError, match="max_threshold must be one number above 0, got 0"):
        pck_auc(zeros, zeros, max_threshold=0)
    with pytest.raises(ValueError, match="definition must be one of strict, loose"):
        pcp(zeros, zeros, definition="strictly")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="align must be one of root, procrustes"):
        mpjpe(zeros, zeros, align="rigid")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="root must be None unless align is 'root', got 3"):
        mpjpe(zeros, zeros, root=3)
    with pytest.raises(ValueError, match=r"root must be one of head.*did you mean 'left_hip'"):
        mpjpe(zeros, zeros, align="root", root="left_hpi")
    with pytest.raises(ValueError, match="root must be between 0 and 13, got 14"):
        mpjpe(zeros, zeros, align="root", root=14)
    with pytest.raises(ValueError, match=r"must be \(N, J, 2\) or \(N, J, 3\), got shape"):
        mpjpe(np.zeros((1, 14, 4)), np.zeros((1, 14, 4)))
    with pytest.raises(ValueError, match="sigmas must be given for skeleton 'lsp', which has none"):
        oks(zeros, zeros, areas=[1, 1])
    with pytest.raises(ValueError, match="sigmas must be positive and finite, got 0"):
        oks(zeros, zeros, areas=[1, 1], sigmas=np.zeros(14))
    with pytest.raises(ValueError, match="areas must be at least 0 and finite, got -1"):
        oks(zeros, zeros, areas=[1, -1], sigmas=np.ones(14))
    with pytest.raises(ValueError, match=r"areas must be \(N,\) = \(2,\), got shape \(3,\)"):
        oks(zeros, zeros, areas=[1, 1, 1], sigmas=np.ones(14))
    with pytest.raises(ValueError, match=r"errors must be \(N, J\), got shape \(3,\)"):
        pck_of_errors(np.zeros(3))


def test_numpy_is_enough(tmp_path: Any):
    """In a new process, in which nothing that is optional is loaded."""
    code = """
import sys
import numpy as np
import vl4pose
truth = np.zeros((3, 14, 2)) + np.arange(14)[:, None]
assert vl4pose.metrics.pck(truth, truth).interval().low == 1
made = vl4pose.metrics.evaluate(np.zeros((3, 14, 8, 8), np.float32), truth, flipped=np.zeros(
    (3, 14, 8, 8), np.float32), subpixel="quarter")
assert made["PCK@0.2"].count.sum() == 42
print(sorted({"torch", "scipy", "faster_coco_eval", "PIL", "pyarrow"} & set(sys.modules)))
"""
    done = run_python(code, tmp_path)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_examples_of_the_documentation_run():
    import doctest
    import importlib

    for name in ("correct_keypoints", "evaluation"):
        result = doctest.testmod(
            importlib.import_module(f"vl4pose.metrics.{name}"), extraglobs={"np": np}
        )
        assert result.attempted > 0
        assert result.failed == 0
