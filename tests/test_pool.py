"""Scoring a pool in shards: the folder, reading it, people, Python's side."""

from __future__ import annotations

import json
import os
import re
import warnings

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from pool_cases import (  # noqa: E402
    NUM_IMAGES,
    NUM_SHARDS,
    TRANSFORM,
    contents,
    saved_images,  # noqa: F401
    saved_models,  # noqa: F401
    score,
    settings,
    stopped_folder,
)

import vl4pose  # noqa: E402
from vl4pose.annotations import Person  # noqa: E402
from vl4pose.pool import PoolSettings, find_people, score_pool  # noqa: E402
from vl4pose.pool.manifest import INPUTS, MANIFEST, Manifest  # noqa: E402
from vl4pose.pool.people import People  # noqa: E402
from vl4pose.pool.shards import shards_of  # noqa: E402
from vl4pose.score_table import SCHEMA, read_scores  # noqa: E402

# --- the folder ---------------------------------------------------------------------------------


def test_a_folder_holds_the_rows_of_a_file(models, images, tmp_path):
    result = score(models, images, tmp_path / "scores")
    assert score(models, images, tmp_path / "scores.parquet").tally == result.tally
    folder, file = read_scores(tmp_path / "scores"), read_scores(tmp_path / "scores.parquet")
    assert folder.rows.equals(file.rows)
    assert folder.metadata == file.metadata
    assert folder.metadata["counts"] == {"found": 17, "scored": 14, "flagged": 2, "failed": 1}
    assert folder.metadata["heatmap_size"] == [8, 8]
    assert folder.rows["image"].to_pylist() == [f"{index:02d}.png" for index in range(17)]
    names = [f"scores-{index:06d}.parquet" for index in range(NUM_SHARDS)]
    assert sorted(contents(tmp_path / "scores")) == [INPUTS, MANIFEST, *names]
    assert [len(pq.read_table(tmp_path / "scores" / name)) for name in names] == [5, 5, 5, 2]
    # Other readers of folders of Parquet files get the rows as well.
    assert pq.read_table(tmp_path / "scores").num_rows == NUM_IMAGES
    one = read_scores(tmp_path / "scores" / names[1])
    assert one.metadata["counts"] == {"found": 5, "scored": 3, "flagged": 1, "failed": 1}
    assert one.rows.equals(folder.rows.slice(5, 5))


def test_the_manifest_says_what_it_is_of(models, images, tmp_path):
    score(models, images, tmp_path / "scores", scoring={"num_peaks": 2}, num_threads=1)
    data = json.loads((tmp_path / "scores" / MANIFEST).read_text())
    assert data["version"] == vl4pose.__version__
    assert data["software"]["torch"] == torch.__version__
    assert data["settings"]["scoring"]["num_peaks"] == 2
    assert data["settings"]["input"]["input_size"] == [32, 32]
    run = {"batch_size": 2, "shard_rows": 5, "num_threads": 1, "device": "cpu"}
    assert data["settings"]["run"] == run
    assert set(data["models"]) == {"pose", "params"}
    assert data["source"]["root"] == str(images)
    assert data["inputs"]["people"] == data["rows"] == NUM_IMAGES
    assert data["counts"] == {"found": 17, "scored": 14, "flagged": 2, "failed": 1}
    assert sum(shard["rows"] for shard in data["shards"]) == NUM_IMAGES
    for moment in ("time", "date", "host", str(os.getpid())):
        assert not re.search(rf'"[^"]*\b{moment}\b[^"]*":', json.dumps(data))


def test_two_runs_give_the_same_bytes(models, images, tmp_path):
    score(models, images, tmp_path / "a", workers=1)
    score(models, images, tmp_path / "b", workers=4)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    score(models, images, tmp_path / "a.parquet")
    score(models, images, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_batches_end_where_shards_do(models, images, tmp_path, monkeypatch):
    sizes = []
    predict = vl4pose.Scorer.predict_with_features

    def watch(self, pixels):
        sizes.append(len(pixels))
        return predict(self, pixels)

    monkeypatch.setattr(vl4pose.Scorer, "predict_with_features", watch)
    score(models, images, tmp_path / "scores")
    assert sizes == [2, 2, 1, 2, 1, 1, 2, 2, 1, 2]  # the eighth image has no pixels


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 30))
def test_shards_and_batches_cover_all_people_once(num_people, shard_rows, batch_size):
    cuts = [list(s.cuts(batch_size)) for s in shards_of(num_people, shard_rows)]
    places = [place for cut in cuts for part in cut for place in range(part.start, part.stop)]
    assert places == list(range(num_people))
    for shard, cut in zip(shards_of(num_people, shard_rows), cuts, strict=True):
        assert sum(part.stop - part.start for part in cut) == len(shard) <= shard_rows
        assert all(part.stop - part.start <= batch_size for part in cut)


def test_what_does_not_exist_is_null_and_never_nan(models, images, tmp_path):
    class NotANumber(torch.nn.Module):
        def forward(self, pixels):
            return 30 * pixels / pixels.amax([2, 3], keepdim=True), pixels / pixels.sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(NotANumber()), tmp_path / "nan.pt")
    nan = PoolSettings(
        tmp_path / "nan.pt", params=models / "bones.json", transform=TRANSFORM, embeddings=True,
        skeleton=vl4pose.Skeleton.from_file(models / "rgb.json"), batch_size=1,
    )  # fmt: skip
    score_pool(images, tmp_path / "scores", nan, trust=True)
    rows = read_scores(tmp_path / "scores").rows
    assert rows["score"].to_pylist()[5] is None
    assert rows["embedding"].to_pylist()[5] is None
    assert len(rows["embedding"].to_pylist()[0]) == 3

    def leaves(value):
        return (
            [leaf for item in value for leaf in leaves(item)]
            if isinstance(value, list)
            else [value]
        )

    for name in SCHEMA.names:
        for leaf in leaves(rows[name].to_pylist()):
            assert leaf == leaf, name  # NaN is not


# --- reading ------------------------------------------------------------------------------------


def test_an_unfinished_folder_is_not_read_by_mistake(models, images, tmp_path):
    out = stopped_folder(models, images, tmp_path / "scores")
    with pytest.raises(ValueError, match=r"must be complete, got 10 of 17 rows: finish it"):
        read_scores(out)
    table = read_scores(out, partial=True)
    assert table.rows["image"].to_pylist() == [f"{index:02d}.png" for index in range(10)]
    assert table.metadata["counts"]["found"] == 10
    some = read_scores(out, partial=True, columns=["score", "image"])
    assert some.rows.column_names == ["score", "image"]
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path / "nothing")
    with pytest.raises(ValueError, match=f"got a folder without '{MANIFEST}'"):
        read_scores(images)


def test_manifests_are_read_as_they_were_written(models, images, tmp_path):
    score(models, images, tmp_path / "scores")
    content = (tmp_path / "scores" / MANIFEST).read_bytes()
    manifest = Manifest.from_bytes(content)
    assert manifest.to_bytes() == content
    assert manifest.is_complete
    del manifest.entries[2]
    assert not manifest.is_complete
    assert Manifest.from_bytes(manifest.to_bytes()).num_rows == 12


# --- people -------------------------------------------------------------------------------------


_TEXTS = st.text(st.characters(codec=None), max_size=8)


_BOXES = st.none() | st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 4)


@given(st.lists(st.builds(Person, _TEXTS, st.none() | _TEXTS, _BOXES, st.none() | _TEXTS)))
def test_people_come_back_as_they_were(people):
    packed = People(people)
    assert list(packed) == people
    assert packed[:] == people
    assert packed[1:-1] == people[1:-1]
    assert packed[::-1] == people[::-1]
    if people:
        assert packed[-1] == people[-1]
    again = People.from_parquet(packed.to_parquet())
    assert list(again) == people
    assert again.digest() == packed.digest()


# --- from Python --------------------------------------------------------------------------------


def test_arguments_of_settings_are_checked(models, images):
    skeleton = vl4pose.Skeleton.from_file(models / "rgb.json")
    pose, params = models / "pose.pt", models / "bones.json"
    for error, message, arguments in [
        (ValueError, "aux or params must be given, one of them, got neither", {}),
        (ValueError, "batch_size must be at least 1, got 0", {"batch_size": 0}),
        (TypeError, "shard_rows must be a whole number, got 2.5", {"shard_rows": 2.5}),
        (ValueError, "scoring must be options among", {"scoring": {"num_peak": 3}}),
        (ValueError, "num_peaks must be between 1 and", {"scoring": {"num_peaks": 0}}),
    ]:
        given_params = None if "one of them" in message else params
        with pytest.raises(error, match=message):
            PoolSettings(pose, params=given_params, skeleton=skeleton, **arguments)
    chosen = PoolSettings(pose, params=params, skeleton=skeleton)
    with pytest.raises(ValueError, match="trust must be True to load pose"):
        score_pool(images, "nowhere.parquet", chosen)


def test_images_are_scored_from_python(models, images, tmp_path):
    result = score(models, [images / "00.png", images / "01.png"], tmp_path / "two.parquet")
    assert result.tally.counts() == {"found": 2, "scored": 2, "flagged": 0, "failed": 0}
    with pytest.raises(
        ValueError, match=r"engine must be one of local, ray \(did you mean 'ray'\?\)"
    ):
        score_pool(images, tmp_path / "x", settings(models), trust=True, engine="rya")


def test_no_images_and_no_workers_are_errors(models, images, tmp_path):
    with pytest.raises(ValueError, match=r"images must hold at least one image, got an empty list"):
        find_people([])
    for workers in (0, -1):
        with pytest.raises(ValueError, match=f"workers must be at least 1, got {workers}"):
            score(models, images, tmp_path / "scores", workers=workers)
    assert not (tmp_path / "scores").exists()
