"""OKS-AP against pycocotools, which is another implementation than the one behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from new_process import run_python

from vl4pose.metrics import oks, oks_ap

pytest.importorskip("faster_coco_eval")
coco = pytest.importorskip("pycocotools.coco")
cocoeval = pytest.importorskip("pycocotools.cocoeval")

AVERAGES = ("", "50", "75", "_medium", "_large")
NAMES = [f"{stem}{which}" for stem in ("ap", "ar") for which in AVERAGES]


def crowd(seed: int = 0, num_images: int = 25, spread: float = 1.0) -> dict[str, Any]:
    """Images of 0 to 4 people, found with misses, doubles and false ones."""
    rng = np.random.default_rng(seed)
    truth_frames = np.repeat(np.arange(num_images) * 3 + 7, rng.integers(0, 5, num_images))
    num = len(truth_frames)
    size = rng.choice([40, 60, 90, 150, 300], num)
    corner = rng.uniform(0, 400, (num, 2))
    truth = corner[:, None] + rng.uniform(0, 1, (num, 17, 2)) * size[:, None, None]
    visible = rng.random((num, 17)) < rng.choice([0.0, 0.5, 1.0], (num, 1), p=[0.1, 0.4, 0.5])
    found = rng.permutation(np.r_[np.flatnonzero(rng.random(num) < 0.8), rng.integers(0, num, 8)])
    noise = rng.gamma(1, 0.06, (len(found), 1, 1)) * size[found, None, None]
    keypoints = truth[found] + spread * noise * rng.normal(0, 1, (len(found), 17, 2))
    truth[~visible] = np.nan
    return {
        "keypoints": keypoints,
        "scores": rng.random(len(found)).round(2) - noise[:, 0, 0] / 100,
        "truth": truth,
        "visible": visible,
        "areas": size**2 * rng.uniform(0.4, 0.9, num),
        "image_index": truth_frames[found],
        "truth_image_index": truth_frames,
        "boxes": np.concatenate([corner, size[:, None] * np.ones((num, 2))], axis=1),
    }


def of_pycocotools(made: dict[str, Any], sigmas: Any = None) -> Any:
    people = coco.COCO()
    frames = sorted({*made["image_index"].tolist(), *made["truth_image_index"].tolist()})
    people.dataset = {
        "images": [{"id": frame} for frame in frames],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": i + 1,
                "image_id": int(made["truth_image_index"][i]),
                "category_id": 1,
                "area": float(made["areas"][i]),
                "bbox": made["boxes"][i].tolist(),
                "iscrowd": 0,
                "num_keypoints": int(seen.sum()),
                "keypoints": [
                    number
                    for (x, y), v in zip(made["truth"][i].tolist(), seen, strict=True)
                    for number in ((x, y, 2) if v else (0, 0, 0))
                ],
            }
            for i, seen in enumerate(made["visible"])
        ],
    }
    people.createIndex()
    results = people.loadRes(
        [
            {
                "image_id": int(frame),
                "category_id": 1,
                "keypoints": [n for x, y in pose.tolist() for n in (x, y, 1)],
                "score": float(score),
            }
            for frame, pose, score in zip(
                made["image_index"], made["keypoints"], made["scores"], strict=True
            )
        ]
    )
    run = cocoeval.COCOeval(people, results, "keypoints")
    if sigmas is not None:
        run.params.kpt_oks_sigmas = np.asarray(sigmas)
    run.evaluate()
    run.accumulate()
    run.summarize()
    return run


@pytest.mark.parametrize("seed", range(4))
def test_all_ten_numbers_are_pycocotools(seed: int, capsys: pytest.CaptureFixture[str]):
    made = crowd(seed)
    ours = oks_ap(**made)
    assert capsys.readouterr().out == ""
    expected = of_pycocotools(made).stats
    np.testing.assert_allclose([getattr(ours, name) for name in NAMES], expected, rtol=1e-9)
    assert 0.1 < ours.ap < ours.ap50 < 1


def test_one_pose_per_person_and_other_sigmas():
    made = crowd()
    num = len(made["truth"])
    rng = np.random.default_rng(1)
    made["keypoints"] = np.nan_to_num(made["truth"]) + rng.normal(0, 6, (num, 17, 2))
    made["scores"] = rng.random(num)
    made["image_index"] = made["truth_image_index"] = np.arange(num)
    sigmas = np.linspace(0.02, 0.2, 17)
    expected = of_pycocotools(made, sigmas).stats
    del made["image_index"], made["truth_image_index"]
    ours = oks_ap(**made, sigmas=sigmas)
    np.testing.assert_allclose([getattr(ours, name) for name in NAMES], expected, rtol=1e-9)


def test_oks_is_pycocotools():
    made = crowd(3)
    run = of_pycocotools(made)
    rows = {frame: np.flatnonzero(made["image_index"] == frame) for frame in made["image_index"]}
    compared = 0
    for frame, found in rows.items():
        found = found[np.argsort(-made["scores"][found], kind="mergesort")][:20]
        people = np.flatnonzero(made["truth_image_index"] == frame)
        expected = np.asarray(run.ious[frame, 1]).reshape(len(found), len(people))
        for row, pose in enumerate(found):
            for column, person in enumerate(people):
                if made["visible"][person].any():
                    metric = oks(
                        made["keypoints"][[pose]],
                        made["truth"][[person]],
                        made["visible"][[person]],
                        areas=made["areas"][[person]],
                    )
                    assert metric.mean == pytest.approx(expected[row, column], abs=1e-12)
                    compared += 1
    assert compared > 50


def test_perfect_poses_and_nobody():
    made = crowd()
    made["keypoints"] = np.nan_to_num(made["truth"])
    made["scores"] = np.ones(len(made["truth"]))
    made["image_index"] = made["truth_image_index"]
    made["visible"][:] = True
    made["truth"] = made["keypoints"]
    perfect = oks_ap(**made)
    assert [getattr(perfect, name) for name in NAMES] == pytest.approx([1] * 10)
    made["visible"][:] = False
    nobody = oks_ap(**made)
    assert np.isnan([getattr(nobody, name) for name in NAMES]).all()
    nothing = made | {"keypoints": np.zeros((0, 17, 2)), "scores": np.zeros(0)}
    nothing["image_index"] = np.zeros(0, int)
    nothing["visible"] = np.ones_like(made["visible"])
    assert oks_ap(**nothing).ap == 0


# --- intervals


def repeated(made: dict[str, Any], times: Any) -> dict[str, Any]:
    """The crowd with its images as often as said, each copy an image of its own."""
    frames = np.unique(np.r_[made["image_index"], made["truth_image_index"]])
    copies = [(frame, k) for frame, num in zip(frames, times, strict=True) for k in range(int(num))]
    again: dict[str, list[Any]] = {name: [] for name in made}
    for number, (frame, _) in enumerate(copies):
        for index, names in (
            ("image_index", ("keypoints", "scores")),
            ("truth_image_index", ("truth", "visible", "areas", "boxes")),
        ):
            rows = made[index] == frame
            for name in names:
                again[name].append(made[name][rows])
            again[index].append(np.full(rows.sum(), number))
    return {name: np.concatenate(parts) for name, parts in again.items()}


def numbers_of_images(made: dict[str, Any]) -> int:
    return len(np.unique(np.r_[made["image_index"], made["truth_image_index"]]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_the_interval_is_that_of_pycocotools_on_repeated_images(name: str, method: Any):
    made = crowd(1, 12)
    made["scores"] = np.random.default_rng(0).permutation(len(made["scores"])) * 1.0  # no ties
    num = numbers_of_images(made)
    which = NAMES.index(name)

    def statistic(rows: Any) -> Any:
        number = of_pycocotools(repeated(made, np.bincount(rows, minlength=num))).stats[which]
        return np.nan if number < 0 else number

    generator = np.random.default_rng(4)
    if method == "percentile":
        drawn = [statistic(generator.integers(0, num, num)) for _ in range(15)]
        expected = np.quantile([d for d in drawn if not np.isnan(d)], [0.05, 0.95])
    else:
        stats = pytest.importorskip("scipy.stats")
        expected = stats.bootstrap(
            (np.arange(num),),
            statistic,
            n_resamples=15,
            confidence_level=0.9,
            method="BCa",
            vectorized=False,
            rng=generator,
        ).confidence_interval
        if np.isnan(expected).any():  # SciPy has no word for people who are in few images
            pytest.skip(f"SciPy has no BCa interval of {name} here")
    ours = oks_ap(**made).interval(name, 0.9, method=method, num_resamples=15, seed=4)
    np.testing.assert_allclose(ours[:2], tuple(expected), rtol=1e-9)


def test_a_difference_is_paired():
    made = crowd(2)
    better = made | {"keypoints": crowd(2, spread=0.7)["keypoints"]}
    a, b = oks_ap(**better), oks_ap(**made)
    assert a.ap > b.ap
    difference = a.difference(b, num_resamples=300)
    alone = a.interval(num_resamples=300)
    assert difference.low < a.ap - b.ap < difference.high
    assert difference.low > 0
    assert difference.high - difference.low < alone.high - alone.low
    assert a.difference(a, num_resamples=20)[:2] == (0, 0)
    with pytest.raises(ValueError, match="other must be of the same people, got others in image"):
        a.difference(oks_ap(**crowd(3)))
    with pytest.raises(TypeError, match="other must be an AveragePrecision, got float"):
        a.difference(0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"name must be one of ap, .*did you mean 'ap75'"):
        a.interval("ap77")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scores": [1.0]}, ValueError, r"scores must be \(N,\) = \(2,\), got shape \(1,\)"),
        ({"scores": [1.0, np.nan]}, ValueError, "scores must be finite, got nan"),
        ({"areas": [1.0, 0.0]}, ValueError, "areas must be above 0, got 0"),
        (
            {"keypoints": np.full((2, 17, 2), np.nan)},
            ValueError,
            r"keypoints must be finite, got \[nan, nan\] for joint 0 in row 0",
        ),
        (
            {"keypoints": np.zeros((2, 16, 2))},
            ValueError,
            r"keypoints must be of as many joints as truth \(17\), got 16",
        ),
        ({"image_index": [0, 1]}, ValueError, "truth_image_index must be given where the other"),
        (
            {"keypoints": np.zeros((1, 17, 2)), "scores": [1.0]},
            ValueError,
            "image_index must be given unless there is one pose per person, got 1 poses for 2",
        ),
        (
            {"image_index": [0.0, 1.0], "truth_image_index": [0, 1]},
            TypeError,
            "image_index must hold integers, got float64",
        ),
        ({"boxes": np.zeros((2, 3))}, ValueError, r"boxes must be \(M, 4\) = \(2, 4\)"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str):
    arguments: dict[str, Any] = {
        "keypoints": np.zeros((2, 17, 2)),
        "scores": [1.0, 1.0],
        "truth": np.zeros((2, 17, 2)),
        "areas": [1.0, 1.0],
    }
    with pytest.raises(error, match=message):
        oks_ap(**(arguments | options))


def test_without_faster_coco_eval_it_says_what_to_install(tmp_path: Path):
    code = """
import sys
sys.modules["faster_coco_eval"] = None
import numpy as np
import vl4pose
zeros = np.zeros((1, 17, 2))
try:
    vl4pose.metrics.oks_ap(zeros, [1.0], zeros, areas=[1.0])
except ImportError as error:
    print(error)
"""
    done = run_python(code, tmp_path)
    expected = "oks_ap needs faster-coco-eval: pip install 'vl4pose[metrics]'\n"
    assert (done.stdout, done.stderr) == (expected, "")
