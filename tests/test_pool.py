"""Scoring a pool in shards: the folder, resuming it, what must not mix, storage, Python's side."""

from __future__ import annotations

import errno
import json
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from PIL import Image  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose.annotations import Person  # noqa: E402
from vl4pose.cli.app import app  # noqa: E402
from vl4pose.image_transform import ImageTransform  # noqa: E402
from vl4pose.pool import PoolError, PoolSettings, find_people, score_pool  # noqa: E402
from vl4pose.pool import storage as storage_module  # noqa: E402
from vl4pose.pool.manifest import INPUTS, MANIFEST, Manifest  # noqa: E402
from vl4pose.pool.outputs import MismatchError, OutputError  # noqa: E402
from vl4pose.pool.people import People, difference  # noqa: E402
from vl4pose.pool.shards import shards_of  # noqa: E402
from vl4pose.pool.storage import LocalFolder, is_url, open_folder  # noqa: E402
from vl4pose.score_table import SCHEMA, read_scores  # noqa: E402

NUM_IMAGES, SHARD_ROWS, BATCH_SIZE = 17, 5, 2
NUM_SHARDS = 4
TRANSFORM = ImageTransform(input_size=(32, 32))


class Brightness(torch.nn.Module):
    def forward(self, images):
        if bool((images.mean([1, 2, 3]) > 0.95).any()):
            raise RuntimeError("white images are too bright")
        return 30 * torch.nn.functional.avg_pool2d(images, 4)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Brightness()), folder / "pose.pt")
    (folder / "bones.json").write_text(json.dumps([[4.0, 2.0]] * 2))
    vl4pose.Skeleton("rgb", ["red", "green", "blue"], [(0, 1), (1, 2)]).to_file(folder / "rgb.json")
    return folder


def save_images(folder: Path, count: int = NUM_IMAGES) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 256, (24, 32, 3), np.uint8) * (index % 11 != 5)
        Image.fromarray(pixels).save(folder / f"{index:02d}.png")
    (folder / "07.png").write_bytes(b"torn")
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    """Seventeen images: two are black, whose maps have no peak, and one cannot be read."""
    return save_images(tmp_path / "images")


def settings(models: Path, **more) -> PoolSettings:
    return PoolSettings(
        models / "pose.pt",
        params=models / "bones.json",
        skeleton=vl4pose.Skeleton.from_file(models / "rgb.json"),
        transform=TRANSFORM,
        **{"shard_rows": SHARD_ROWS, "batch_size": BATCH_SIZE, **more},
    )


def score(models, images, out, *, trust=True, **more):
    """Score, `settings` and options of `score_pool` together in ``more``."""
    options = {name: more.pop(name) for name in ("resume", "tell", "workers") if name in more}
    return score_pool(images, out, settings(models, **more), trust=trust, **options)


def command(models: Path, images, out, *more: str):
    args = [
        "score", str(images), "--pose", str(models / "pose.pt"), "--trust",
        "--params", str(models / "bones.json"), "--skeleton", str(models / "rgb.json"),
        "--input-size", "32x32", "--shard-rows", str(SHARD_ROWS), "--batch-size", str(BATCH_SIZE),
        "--out", str(out), *more,
    ]  # fmt: skip
    return CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, args)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Refusing:
    """Stands for a function that fails from a call on, as on a full disk, and then works again."""

    def __init__(self, function, good_calls: int, error: BaseException) -> None:
        self.function, self.good_calls, self.error = function, good_calls, error

    def __call__(self, *args):
        self.good_calls -= 1
        if self.good_calls < 0:
            raise self.error
        return self.function(*args)


def stop_after(monkeypatch, writes: int, error: BaseException) -> None:
    """Let the first writes of files succeed, and those after them fail."""
    refusing = Refusing(storage_module.write_atomically, writes, error)
    monkeypatch.setattr(storage_module, "write_atomically", refusing)


def stopped_folder(models, images, out: Path, shards: int = 2) -> Path:
    """Return a folder of a run that was stopped after so many shards."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2 + 2 * shards, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            score(models, images, out)
    return out


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


# --- resuming -----------------------------------------------------------------------------------


def test_resume_begins_where_there_is_nothing(models, images, tmp_path):
    score(models, images, tmp_path / "expected")
    score(models, images, tmp_path / "scores", resume=True)
    (tmp_path / "empty").mkdir()
    score(models, images, tmp_path / "empty", resume=True)
    assert contents(tmp_path / "scores") == contents(tmp_path / "expected")
    assert contents(tmp_path / "empty") == contents(tmp_path / "expected")


@pytest.mark.parametrize("writes", range(2 + 2 * NUM_SHARDS))
def test_a_full_disk_stops_with_a_sentence_and_the_rest_follows(
    models, images, tmp_path, monkeypatch, writes
):
    score(models, images, tmp_path / "expected")
    out = tmp_path / "scores"
    with monkeypatch.context() as patch:
        stop_after(patch, writes, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        with pytest.raises(PoolError, match=f"^cannot write '{out}': No space left") as caught:
            score(models, images, out)
    rows = min(max(writes - 2, 0) // 2 * SHARD_ROWS, NUM_IMAGES)
    if writes > 0:  # else there was no folder yet
        assert caught.value.__notes__ == [f"{rows} of 17 rows are in '{out}', to be resumed"]
    result = score(models, images, out, resume=True)
    assert contents(out) == contents(tmp_path / "expected")
    assert result.num_scored == NUM_IMAGES - rows
    counts = result.tally.counts()
    assert counts == {"found": 17, "scored": 14, "flagged": 2, "failed": 1}  # of both runs


def test_a_finished_shard_is_not_written_again(models, images, tmp_path):
    out = stopped_folder(models, images, tmp_path / "scores")

    def written() -> list[tuple[int, int]]:  # not st_atime, which reading changes
        stats = [(out / name).stat() for name in ("scores-000000.parquet", INPUTS)]
        return [(stat.st_ino, stat.st_mtime_ns) for stat in stats]

    before = written()
    result = score(models, images, out, resume=True)
    assert result.num_scored == NUM_IMAGES - 2 * SHARD_ROWS
    assert written() == before
    again = score(models, images, out, resume=True)
    assert again.num_scored == 0
    assert again.tally == result.tally


def test_the_same_images_by_another_name_are_the_same(models, images, tmp_path, monkeypatch):
    score(models, images, tmp_path / "expected")
    out = stopped_folder(models, images, tmp_path / "scores")
    monkeypatch.chdir(images.parent)
    score(models, images.name, out, resume=True)
    assert contents(out) == contents(tmp_path / "expected")


def test_the_summary_of_a_resumed_run_is_of_all_rows(models, images, tmp_path):
    whole = command(models, images, tmp_path / "whole").stdout
    out = stopped_folder(models, images, tmp_path / "scores")
    resumed = command(models, images, out, "--resume")
    assert resumed.exit_code == 0, resumed.output

    def without_times(text: str) -> list[str]:
        return [
            line
            for line in text.splitlines()
            if not re.search(r"\d%|images/s|seconds|written", line)
        ]

    assert without_times(resumed.stdout) == without_times(whole)
    for part in ("waiting for images", "networks", "vl4pose", "rows", "writing", "reading images"):
        assert re.search(rf"{part} +\d+\.\d\d +\d+\.\d%", resumed.stdout), part


DAMAGES = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "altered": lambda path: path.write_bytes(path.read_bytes().replace(b"PAR1", b"PAR2", 1)),
    "empty": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_shard_is_scored_again(models, images, tmp_path, damage):
    out = tmp_path / "scores"
    score(models, images, out)
    expected = contents(out)
    damage(out / "scores-000001.parquet")
    damage(out / INPUTS)
    with pytest.raises(ValueError, match=r"scores-000001.parquet' must be as it was written"):
        read_scores(out)
    told = []
    result = score(models, images, out, resume=True, tell=told.append)
    assert result.num_scored == SHARD_ROWS
    assert contents(out) == expected
    assert any("'_inputs.parquet' is damaged or missing" in text for text in told)
    assert any(re.search(r"'scores-000001.parquet' .* is scored again", text) for text in told)


def test_left_over_files_of_dead_runs_are_removed(models, images, tmp_path):
    out = stopped_folder(models, images, tmp_path / "scores")
    (out / ".scores-000003.parquet.4711.tmp").write_bytes(b"PAR1")
    (out / f".{MANIFEST}.4711.tmp").write_bytes(b"{")
    (out / ".notes.4711.tmp").write_bytes(b"of somebody else")
    score(models, images, out, resume=True)
    assert [name for name in contents(out) if name.endswith(".tmp")] == [".notes.4711.tmp"]


def test_the_recorded_number_of_threads_is_taken(models, images, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)  # it is the whole process's
    other = torch.get_num_threads() + 1
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            score(models, images, tmp_path / "scores", num_threads=other)
    assert asked == [other]
    with pytest.raises(MismatchError, match=f"num_threads was {other} and is {other + 1}$"):
        score(models, images, tmp_path / "scores", resume=True, num_threads=other + 1)
    score(models, images, tmp_path / "scores", resume=True)
    assert asked == [other, other]
    run = read_scores(tmp_path / "scores").metadata["settings"]["run"]
    assert run["num_threads"] == other


def test_what_a_shard_was_scored_with_elsewhere_is_recorded(models, images, tmp_path, monkeypatch):
    out = stopped_folder(models, images, tmp_path / "scores")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    score(models, images, out, resume=True)
    table = read_scores(out)
    elsewhere = {"machine.cpu": "another"}
    assert table.metadata["differs"] == [{"rows": 5, **elsewhere}, {"rows": 2, **elsewhere}]
    assert "differs" not in read_scores(out / "scores-000001.parquet").metadata
    assert read_scores(out / "scores-000002.parquet").metadata["differs"] == elsewhere


# --- what must not mix --------------------------------------------------------------------------


def test_an_existing_folder_is_refused_without_resume(models, images, tmp_path):
    out = tmp_path / "scores"
    assert command(models, images, out).exit_code == 0
    result = command(models, images, out)
    assert result.exit_code == 2
    assert result.stderr.startswith(
        f"Error: --out must be new unless --resume is given, got '{out}"
    )
    result = command(models, images, images, "--resume")
    assert result.exit_code == 2
    assert "--out must be a new folder or one of vl4pose score" in result.stderr
    (tmp_path / "file").write_text("")
    result = command(models, images, tmp_path / "file", "--resume")
    assert result.exit_code == 2
    assert f"--out must be a folder, got the file '{tmp_path / 'file'}'" in result.stderr


DIFFERENCES = [
    (["--num-peaks", "3"], "--num-peaks was 5 and is 3"),
    (["--method", "max"], "--method was expected and is max"),
    (["--threshold-abs", "0.5"], "--threshold-abs was not set and is 0.5"),
    (["--std", "0.5"], r"--std was \[1.0\] and is \[0.5\]"),
    (["--embeddings"], "--embeddings was False and is True"),
    (["--batch-size", "3"], "--batch-size was 2 and is 3"),
    (["--shard-rows", "4", "--min-distance", "1"], "--min-distance was 5 and is 1, --shard-rows"),
]


@pytest.mark.parametrize(
    ("more", "message"), DIFFERENCES, ids=[str(more) for more, _ in DIFFERENCES]
)
def test_other_settings_are_refused_by_name(models, images, tmp_path, more, message):
    out = stopped_folder(models, images, tmp_path / "scores")
    before = contents(out)
    result = command(models, images, out, "--resume", *more)
    assert result.exit_code == 2, result.output
    rule = f"Error: --out must be resumed with the settings it was begun with, got '{out}', where "
    assert result.stderr.startswith(rule)
    assert re.search(message, result.stderr)
    assert contents(out) == before


def test_other_models_and_versions_are_refused(models, images, tmp_path, monkeypatch):
    out = stopped_folder(models, images, tmp_path / "scores")
    for name in ("bones.json", "rgb.json"):
        (tmp_path / name).write_bytes((models / name).read_bytes())
    renamed = tmp_path / "renamed.pt"
    renamed.write_bytes((models / "pose.pt").read_bytes())
    result = command(models, images, out, "--resume", "--pose", str(renamed))
    assert result.exit_code == 0, result.output  # the same network by another name
    renamed.write_bytes((models / "pose.pt").read_bytes() + b"\0")
    result = command(models, images, out, "--resume", "--pose", str(renamed))
    assert re.search(
        r"--pose was another file \(SHA-256 \w{12}, now \w{12}\)$", result.stderr, re.M
    )
    (tmp_path / "bones.json").write_text(json.dumps([[5.0, 2.0]] * 2))
    result = command(models, images, out, "--resume", "--params", str(tmp_path / "bones.json"))
    assert re.search(r"--params was another file \(SHA-256", result.stderr)
    monkeypatch.setattr("vl4pose.pool.settings.__version__", "9.9")
    result = command(models, images, out, "--resume")
    assert f"the version of vl4pose was {vl4pose.__version__} and is 9.9" in result.stderr


def test_other_images_are_refused_by_name(models, images, tmp_path):
    out = stopped_folder(models, images, tmp_path / "scores")

    def error() -> str:
        result = command(models, images, out, "--resume")
        assert result.exit_code == 2, result.output
        assert f"IMAGES must be those that '{out}' was begun with: " in result.stderr
        return result.stderr

    (images / "03.png").rename(images / "x.png")
    assert (
        "1 of them not there before, such as 'x.png'; 1 of them gone, such as '03.png'" in error()
    )
    (images / "x.png").rename(images / "03.png")
    (images / "99.png").touch()
    assert "1 of them not there before, such as '99.png'\n" in error()
    (out / INPUTS).write_bytes(b"")
    assert "they are others, and '_inputs.parquet' cannot tell which" in error()
    (images / "99.png").unlink()
    assert command(models, images, out, "--resume").exit_code == 0
    moved = images.rename(tmp_path / "moved")
    result = command(models, moved, out, "--resume")
    assert f"the root of the images was {images} and is {moved}" in result.stderr


def test_other_boxes_and_another_order_are_told():
    before = People([Person("a.png", "1", (0, 0, 5, 5)), Person("b.png", "2", (1, 1, 5, 5))])
    boxed = People([Person("a.png", "1", (0, 0, 5, 5)), Person("b.png", "2", (1, 1, 5, 6))])
    assert difference(before, boxed) == (
        "'b.png #2' has the box [1.0, 1.0, 5.0, 6.0], and had [1.0, 1.0, 5.0, 5.0]"
    )
    turned = People([before[1], before[0]])
    assert difference(before, turned) == "the same in another order, from 'b.png #2' on"
    wrong = People([Person("a.png", "1", None, "no image"), before[1]])
    assert difference(before, wrong).startswith("'a.png #1' has the box none, and had [0.0")
    twice = People([*before, before[0]])
    assert difference(before, twice) == "1 of them not there before, such as 'a.png #1'"
    assert len({people.digest() for people in (before, boxed, turned, wrong, twice)}) == 5


def test_a_manifest_that_is_none_is_refused(models, images, tmp_path):
    out = tmp_path / "scores"
    score(models, images, out)
    good = (out / MANIFEST).read_text()
    data = json.loads(good)
    for content, message in [
        ("{", "is no JSON"),
        ("[]", "must have the format 'vl4pose scores 1'"),
        ('{"format": "vl4pose scores 2"}', r"must have the format .*got \"vl4pose scores 2\""),
        (
            json.dumps({**data, "counts": {**data["counts"], "failed": 2}}),
            "has counts that are not",
        ),
        (json.dumps({**data, "rows": 3}), "has counts that are not"),
        (good.replace('"rows": 5', '"rows": 6', 1), "miscounts the rows of scores-000000"),
        (json.dumps({k: v for k, v in data.items() if k != "inputs"}), "lacks what a manifest has"),
    ]:
        (out / MANIFEST).write_text(content)
        with pytest.raises(ValueError, match=message):
            read_scores(out)
        with pytest.raises(OutputError, match=f"out must have a whole manifest: .*{message}"):
            score(models, images, out, resume=True)


def test_one_run_at_a_time(models, images, tmp_path):
    out = stopped_folder(models, images, tmp_path / "scores")
    with LocalFolder(out).lock() as locked:
        assert locked
        result = command(models, images, out, "--resume")
    assert result.exit_code == 2
    rule = f"--out must be of one run at a time, got '{out}', where another is writing"
    assert rule in result.stderr
    assert command(models, images, out, "--resume").exit_code == 0  # nothing of the lock is left


def test_two_runs_that_begin_at_once(models, images, tmp_path, monkeypatch):
    out = tmp_path / "scores"
    make = LocalFolder.make

    def be_overtaken(self):
        monkeypatch.setattr(LocalFolder, "make", make)
        score(models, images, out)
        make(self)

    monkeypatch.setattr(LocalFolder, "make", be_overtaken)
    with pytest.raises(OutputError, match=f"out must be new, got '{out}', which has just been"):
        score(models, images, out)
    assert len(read_scores(out)) == NUM_IMAGES


def test_runs_of_other_settings_are_found_where_there_are_no_locks(
    models, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(LocalFolder, "_lock", lambda self, descriptor: False)
    out = tmp_path / "scores"
    score(models, images, tmp_path / "other", scoring={"num_peaks": 1})
    other = (tmp_path / "other" / MANIFEST).read_bytes()
    write = LocalFolder.write

    def meddle(self, name, content):
        write(self, name, content)
        if name == "scores-000001.parquet":
            write(self, MANIFEST, other)

    monkeypatch.setattr(LocalFolder, "write", meddle)
    with pytest.raises(OutputError, match="where another has put its manifest"):
        score(models, images, out)


def test_a_network_that_fails_says_what_is_there(models, images, tmp_path):
    Image.new("RGB", (64, 64), (255, 255, 255)).save(images / "12.png")
    result = command(models, images, tmp_path / "scores")
    assert result.exit_code == 1
    assert "white images are too bright" in result.stderr
    assert result.stderr.endswith(f"10 of 17 rows are in '{tmp_path / 'scores'}', to be resumed\n")
    assert len(read_scores(tmp_path / "scores", partial=True)) == 10


def test_a_wrong_model_leaves_no_folder(models, images, tmp_path):
    result = command(models, images, tmp_path / "scores", "--pose", str(models / "bones.json"))
    assert result.exit_code == 2
    assert not (tmp_path / "scores").exists()


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


# --- elsewhere ----------------------------------------------------------------------------------


@pytest.fixture
def memory():
    """A folder in fsspec's file system in memory."""
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]


def upload(filesystem, images: Path, place: str) -> None:
    for path in sorted(images.rglob("*")):
        if path.is_file():
            filesystem.pipe_file(
                f"{place}/{path.relative_to(images).as_posix()}", path.read_bytes()
            )


def test_images_and_tables_at_urls(models, images, tmp_path, memory):
    (images / "sub").mkdir()
    (images / "03.png").rename(images / "sub" / "03.png")
    (images / "notes.txt").write_text("no image")
    (images / ".hidden.png").write_text("")
    score(models, images, tmp_path / "local")
    upload(memory, images, "/photos")
    everything = find_people("memory://")
    assert (everything.root, everything.people[0].image) == ("memory://", "photos/00.png")
    assert everything.images.has("photos/00.png")
    source = find_people("memory://photos/")
    assert source.kind == "folder"
    assert [(item.what, item.number) for item in source.left_out] == [("other files", 2)]
    result = command(models, "memory://photos", "memory://results/scores")
    assert result.exit_code == 0, result.output
    remote, local = read_scores("memory://results/scores"), read_scores(tmp_path / "local")
    assert remote.rows.equals(local.rows)
    assert remote.root == "memory://photos"
    result = command(models, "memory://photos", "memory://results/scores")
    assert result.exit_code == 2
    assert "--out must be new unless --resume is given" in result.stderr
    result = command(models, "memory://photos", "memory://results/scores", "--resume")
    assert result.exit_code == 0, result.output
    result = command(models, "memory://photos", "memory://results/one.parquet")
    assert result.exit_code == 0, result.output
    assert read_scores("memory://results/one.parquet").rows.equals(local.rows)
    assert not [name for name in memory.find("/results") if name.endswith(".tmp")]


def test_globs_files_and_annotations_at_urls(images, tmp_path, memory):
    upload(memory, images, "/photos")
    upload(memory, images, "/photos/below")
    found = find_people("memory://photos/**/0[12].png")
    assert [person.image for person in found.people] == [
        "01.png", "02.png", "below/01.png", "below/02.png",
    ]  # fmt: skip
    found = find_people(["memory://photos/below/01.png", "memory://photos/below/04.png"])
    assert [person.image for person in found.people] == ["01.png", "04.png"]
    assert found.images.has("04.png")
    rows = "image,x,y,width,height\n01.png,0,0,9,9\n"
    memory.pipe_file("/photos/people.csv", rows.encode())
    assert find_people("memory://photos/people.csv").images.url == "memory://photos"
    (tmp_path / "people.csv").write_text(rows)
    found = find_people(tmp_path / "people.csv", "memory://photos")
    assert (found.kind, found.people[0].box) == ("csv", (0, 0, 9, 9))
    for wrong, message in [
        (
            "memory://photos/*.gif",
            "match at least one file, got none for 'memory://photos/\\*.gif'",
        ),
        ("memory://nowhere", "hold at least one image, got none in 'memory://nowhere'"),
        (["memory://photos/01.png", str(images)], "must all be URLs or all be paths"),
        ("memory://photos/none.csv", "images must exist, got 'memory://photos/none.csv'"),
        ("mmeory://photos", r"protocol that fsspec knows, .*\(did you mean 'memory'\?\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            find_people(wrong)
    with pytest.raises(ValueError, match="holds no image of"):
        find_people(tmp_path / "people.csv", "memory://nowhere")


def test_files_of_this_machine_are_files_under_any_name(models, images, tmp_path):
    pytest.importorskip("fsspec")
    score(models, images, tmp_path / "expected")
    score(models, f"file://{images}", f"file://{tmp_path / 'scores'}")
    assert is_url(f"file://{images}")
    assert isinstance(open_folder(f"file://{images}"), LocalFolder)
    expected = contents(tmp_path / "expected")
    scores = contents(tmp_path / "scores")
    assert set(scores) == set(expected)
    assert read_scores(f"file://{tmp_path}/scores").rows.equals(
        read_scores(tmp_path / "expected").rows
    )


class ClientError(Exception):
    """What a storage's own client raises."""


def faulty_filesystem(root: Path):
    """Return a file system without atomic puts, that fails when it is told to."""
    fsspec = pytest.importorskip("fsspec")

    class FaultyFileSystem(fsspec.implementations.dirfs.DirFileSystem):
        protocol = "faulty"
        puts = 10_000
        reads_to_fail = 0
        torn = False

        def pipe_file(self, path, value, **options):
            type(self).puts -= 1
            if self.puts < 0:
                super().pipe_file(path, value[: len(value) // 2], **options)
                raise ClientError("503 Slow Down")
            super().pipe_file(path, value[: len(value) // 2] if self.torn else value, **options)

        def cat_file(self, path, *args, **options):
            if self.reads_to_fail > 0:
                type(self).reads_to_fail -= 1
                raise ClientError("connection reset")
            return super().cat_file(path, *args, **options)

    return FaultyFileSystem(path=str(root), fs=fsspec.filesystem("file"), skip_instance_cache=True)


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    pytest.importorskip("fsspec.implementations.dirfs")
    (tmp_path / "bucket").mkdir()
    filesystem = faulty_filesystem(tmp_path / "bucket")
    monkeypatch.setattr(storage_module, "_SECONDS_BETWEEN_TRIES", 0.0)

    def opened(location):
        path = str(location).removeprefix("faulty://")
        if path == str(location):
            return LocalFolder(Path(location))
        return storage_module.RemoteFolder(str(location), filesystem, path)

    for module in ("outputs", "sources", "storage"):
        monkeypatch.setattr(f"vl4pose.pool.{module}.open_folder", opened)
    return filesystem


@pytest.mark.parametrize("puts", range(2 * NUM_SHARDS + 2))
def test_a_storage_that_fails_while_it_is_written(models, images, tmp_path, faulty, puts):
    score(models, images, "faulty://expected")
    type(faulty).puts = puts
    with pytest.raises(
        PoolError, match="cannot write 'faulty://scores': ClientError: 503 Slow Down"
    ):
        score(models, images, "faulty://scores")
    type(faulty).puts = 10_000
    score(models, images, "faulty://scores", resume=True)
    bucket = tmp_path / "bucket"
    assert contents(bucket / "scores") == contents(bucket / "expected")
    assert len(read_scores("faulty://scores")) == NUM_IMAGES


def test_a_storage_that_tears_files_silently_is_found_out(models, images, tmp_path, faulty):
    score(models, images, "faulty://scores")
    expected = contents(tmp_path / "bucket" / "scores")
    shard = expected["scores-000001.parquet"]
    (tmp_path / "bucket" / "scores" / "scores-000001.parquet").write_bytes(shard[: len(shard) // 2])
    with pytest.raises(ValueError, match="must be as it was written"):
        read_scores("faulty://scores")
    assert score(models, images, "faulty://scores", resume=True).num_scored == SHARD_ROWS
    assert contents(tmp_path / "bucket" / "scores") == expected


def test_reading_is_tried_again(images, tmp_path, faulty):
    folder = storage_module.open_folder("faulty://photos")
    folder.make()
    folder.write("a.bin", b"content")
    type(faulty).reads_to_fail = 2
    assert folder.read("a.bin") == b"content"
    type(faulty).reads_to_fail = 3
    with pytest.raises(ClientError):
        folder.read("a.bin")
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        folder.read("b.bin")
    assert folder.names() == ["a.bin"]
    folder.remove("a.bin")
    folder.remove("a.bin")
    assert folder.names() == []


def test_an_image_that_is_gone_is_a_row(models, images, tmp_path, memory):
    upload(memory, images, "/photos")
    source = find_people("memory://photos")
    memory.rm_file("/photos/02.png")
    memory.pipe_file("/photos/03.png", b"")
    score_pool(source, tmp_path / "scores", settings(models), trust=True)
    errors = read_scores(tmp_path / "scores").rows["error"].to_pylist()
    assert errors[2:4] == ["no such file or directory", "the file is empty"]


def test_fsspec_is_asked_for_where_it_is_needed(models, images, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    result = command(models, "s3://bucket/photos", tmp_path / "scores")
    assert result.exit_code == 1
    assert result.stderr == "Error: fsspec is not installed: pip install 'vl4pose[remote]'\n"
    assert command(models, images, tmp_path / "scores").exit_code == 0


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
