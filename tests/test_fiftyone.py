"""Fields of FiftyOne's samples, on samples in memory: its datasets need a MongoDB server."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports warn of each other
    fo = pytest.importorskip("fiftyone", reason="needs FiftyOne: pip install fiftyone")

import pyarrow.parquet as pq  # noqa: E402

from vl4pose import Skeleton, Status  # noqa: E402
from vl4pose.adapters.fiftyone import Written, keypoint_skeleton, write_scores  # noqa: E402
from vl4pose.score_table import METADATA_KEY, SCHEMA, ScoreTable  # noqa: E402

SKELETON = Skeleton("arm", ["shoulder", "elbow", "wrist"], [(0, 1), (1, 2)])


def row(image: str, score: float | None = -4.0, **change: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "image": image,
        "person_id": None,
        "box": None,
        "width": 40,
        "height": 20,
        "error": None,
        "status": 0,
        "params_flag": False,
        "score": score,
        "log_prob": -3.5,
        "multi_peak_entropy": 0.75,
        "per_link": [-1.0, -3.0],
        "link_params": [[5.0, 1.0], [6.0, 1.0]],
        "entropy": [0.25, 0.25, 0.25],
        "confidence": [0.5, 0.25, 30.0],
        "keypoints": [[0.0, 0.0]] * 3,
        "refined_keypoints": [[-0.5, -0.5], [9.5, 4.5], [39.5, 19.5]],
        "peak_index": [0, 1, 0],
        "changed": [False, True, False],
        "peaks": [[[0.0, 0.0, 1.0, 1.0]]] * 3,
        "heatmap_scale": [4.0, 4.0],
        "embedding": None,
    }
    return values | change


def failed(image: str) -> dict[str, Any]:
    kept = {"image": image, "error": "cannot be read"}
    return {name: kept.get(name) for name in SCHEMA.names}


def table(rows: list[dict[str, Any]], root: Path, *more: pa.Field) -> ScoreTable:
    schema = pa.schema([*SCHEMA, *more])
    metadata = {"skeleton": SKELETON.to_json(), "source": {"root": str(root)}}
    return ScoreTable(pa.Table.from_pylist(rows, schema=schema), metadata)


def sample(path: Path) -> Any:
    return fo.Sample(filepath=str(path))


def test_fields_of_a_sample(tmp_path: Path) -> None:
    scores = table([row("a/b.jpg")], tmp_path)
    image = sample(tmp_path / "a" / "b.jpg")
    assert write_scores([image], scores) == Written(1, 0, 0)
    (pose,) = image.vl4pose.keypoints
    # From one edge of the image to the other; an integer is the centre of a pixel.
    np.testing.assert_allclose(pose.points, [[0, 0], [0.25, 0.25], [1, 1]], atol=1e-7)
    assert pose.confidence == [0.5, 0.25, 30.0]
    assert (pose.label, pose.score, pose.log_prob, pose.multi_peak_entropy) == (
        "arm",
        -4.0,
        -3.5,
        0.75,
    )
    assert (pose.status, pose.changed, pose.person_id) == ([], ["elbow"], None)
    assert image.vl4pose_score == -4.0
    assert (image.vl4pose_status, image.vl4pose_error) == ([], None)
    assert not image.has_field("vl4pose_rank")
    assert image.to_dict()["vl4pose"]["keypoints"][0]["points"][1] == pytest.approx([0.25, 0.25])


def test_persons_status_and_errors(tmp_path: Path) -> None:
    nan = math.nan
    bad = int(Status.PEAK_FALLBACK | Status.NONFINITE_PARAMS)
    unknown = row("a.jpg", None, person_id="2", status=bad, log_prob=nan, multi_peak_entropy=None)
    unknown["refined_keypoints"] = [[nan, nan], [1.0, nan], [None, None]]
    rows = [
        row("a.jpg", -2.0, person_id="1", status=int(Status.CLAMPED_PARAMS)),
        failed("b.jpg"),
        unknown,
        row("a.jpg", -7.0, person_id="3"),
    ]
    a, b, other = (sample(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg"))
    other["kept"] = 5
    assert write_scores([other, b, a], table(rows, tmp_path), field="pose") == Written(2, 1, 0)
    poses = a.pose.keypoints
    assert [pose.person_id for pose in poses] == ["1", "2", "3"]
    assert np.isnan(poses[1].points).all()
    assert (poses[1].score, poses[1].log_prob, poses[1].multi_peak_entropy) == (None, None, None)
    assert poses[1].status == ["PEAK_FALLBACK", "NONFINITE_PARAMS"]
    assert a.pose_score == -7.0
    assert a.pose_status == ["PEAK_FALLBACK", "CLAMPED_PARAMS", "NONFINITE_PARAMS"]
    assert (b.pose.keypoints, b.pose_score, b.pose_error) == ([], None, "cannot be read")
    assert other.kept == 5
    assert not other.has_field("pose")


def test_selection(tmp_path: Path) -> None:
    more = (
        pa.field("rank", pa.int32()),
        pa.field("priority", pa.float64()),
        pa.field("chosen_by", pa.string()),
        pa.field("percentile", pa.float64()),
        pa.field("reasons", pa.string()),
    )
    why = {"priority": 4.0, "chosen_by": "ranking", "percentile": math.nan}
    rows = [
        row("a.jpg", rank=9, reasons="The wrist is far.", **why),
        row("a.jpg", rank=2, reasons="Two elbows.", **why),
    ]
    image = sample(tmp_path / "a.jpg")
    write_scores([image], table(rows, tmp_path, *more))
    assert (image.vl4pose_rank, image.vl4pose_reasons) == (2, ["Two elbows.", "The wrist is far."])
    first = image.vl4pose.keypoints[0]
    assert (first.rank, first.priority, first.chosen_by) == (9, 4.0, "ranking")
    assert (first.percentile, first.reasons) == (None, "The wrist is far.")


def test_where_images_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = table([row("a.jpg"), row("sub/b.jpg"), row("unused.jpg")], Path("/elsewhere"))
    monkeypatch.chdir(tmp_path)
    images = [sample(tmp_path / "x" / ".." / "a.jpg"), sample(Path("sub/b.jpg"))]
    with pytest.raises(ValueError, match=r"samples must show images .*'/elsewhere/a\.jpg', got 2"):
        write_scores(images, scores)
    assert write_scores(images, scores, root=tmp_path) == Written(2, 0, 1)
    assert write_scores(images, scores, root=".") == Written(2, 0, 1)
    assert write_scores([], scores) == Written(0, 0, 3)
    path = tmp_path / "scores.parquet"
    metadata = {METADATA_KEY: json.dumps(scores.metadata).encode()}
    pq.write_table(scores.rows.replace_schema_metadata(metadata), path)
    assert write_scores([*images, images[0]], path, root=tmp_path) == Written(3, 0, 1)
    urls = table([row("a.jpg")], Path("x"))
    urls.metadata["source"]["root"] = "s3://bucket/images"

    class Remote(dict[str, Any]):  # fo.Sample makes a local path of any
        filepath = "s3://bucket/images/a.jpg"

    assert write_scores([Remote()], urls) == Written(1, 0, 0)


def test_samples_of_a_dataset_are_saved(tmp_path: Path) -> None:
    """As it is iterated over: what a dataset does then needs MongoDB."""
    image = sample(tmp_path / "a.jpg")

    class Collection:
        def iter_samples(self, *, autosave: bool) -> Iterator[Any]:
            assert autosave
            yield image

    assert write_scores(Collection(), table([row("a.jpg")], tmp_path)) == Written(1, 0, 0)
    assert image.vl4pose_score == -4.0


def test_skeleton() -> None:
    for given in (SKELETON, table([], Path("x"))):
        skeleton = keypoint_skeleton(given)
        assert skeleton.labels == ["shoulder", "elbow", "wrist"]
        assert skeleton.edges == [[0, 1], [1, 2]]


@pytest.mark.parametrize(
    ("field", "error"), [(5, TypeError), ("a b", ValueError), ("", ValueError), ("_a", ValueError)]
)
def test_bad_fields(field: Any, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error, match="field must be a"):
        write_scores([], table([], tmp_path), field=field)
