"""The command line: sources, unreadable images, settings, the table, errors and interruptions."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from PIL import Image  # noqa: E402
from rich.console import Console  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose import _core  # noqa: E402
from vl4pose.cli import summary as summary_module  # noqa: E402
from vl4pose.cli.app import app  # noqa: E402
from vl4pose.cli.errors import UsageError, network_reason, printable  # noqa: E402
from vl4pose.cli.settings import input_settings, settings_file  # noqa: E402
from vl4pose.image_transform import ImageTransform  # noqa: E402
from vl4pose.pool import batches as batches_module  # noqa: E402
from vl4pose.pool.decoding import UnreadableImageError, read_rgb  # noqa: E402
from vl4pose.pool.run import PoolResult  # noqa: E402
from vl4pose.pool.sources import find_people  # noqa: E402
from vl4pose.pool.tally import Tally, Timing  # noqa: E402
from vl4pose.score_table import SCHEMA  # noqa: E402

LENGTH, LOG_VARIANCE = 12.0, 3.0
MAIN = [sys.executable, "-c", "from vl4pose.cli import main; main()"]


class ColourNet(torch.nn.Module):
    """Three joints: where red, green and blue are highest. Black images give NaN (0 / 0)."""

    def __init__(self, align_corners: bool, with_features: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.with_features = with_features

    def forward(self, images):
        if bool((images.mean([1, 2, 3]) > 0.95).any()):
            raise RuntimeError("white images are too bright")
        maps = torch.nn.functional.interpolate(
            images,
            size=(images.shape[2] // 4, images.shape[3] // 4),
            mode="bilinear",
            align_corners=self.align_corners,
        )
        return 30 * maps / maps.amax([2, 3], keepdim=True), images.mean([2, 3])


class HeatmapsOnly(torch.nn.Module):
    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images)[0]


class ConstantAux(torch.nn.Module):
    def forward(self, features):
        row = torch.tensor([12.0, 3.0, 12.0, 3.0])
        return row.expand(features.shape[0], 4)


def save_script(module: torch.nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), path)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A folder of models: corners.pt, centers.pt, features.pt, aux.pt, bones.json, rgb.json."""
    folder = tmp_path_factory.mktemp("models")
    for name, corners in (("corners.pt", True), ("centers.pt", False)):
        save_script(HeatmapsOnly(ColourNet(corners, False)), folder / name)
    save_script(ColourNet(True, True), folder / "features.pt")
    save_script(ConstantAux(), folder / "aux.pt")
    (folder / "bones.json").write_text(json.dumps([[LENGTH, LOG_VARIANCE]] * 2))
    vl4pose.Skeleton("rgb", ["red", "green", "blue"], [(0, 1), (1, 2)]).to_file(folder / "rgb.json")
    return folder


def dots(path: Path, size: tuple[int, int], points, sigma: float = 6.0) -> None:
    """Save an image with one blob per colour channel, at (x, y) in pixel centres."""
    x, y = np.arange(size[0]), np.arange(size[1])[:, None]
    channels = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in points]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((200 * np.stack(channels, -1)).round().astype(np.uint8)).save(path)


POINTS = [(60, 80), (120, 90), (150, 160)]


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder of three good images, one of them in a subfolder, and a text file."""
    folder = tmp_path / "photos"
    for i, name in enumerate(["b.png", "sub/a.PNG", "c.png"]):
        dots(folder / name, (200 + 10 * i, 200), POINTS)
    (folder / "notes.txt").write_text("not an image")
    return folder


def score_args(models: Path, images, out: Path, *more: str, pose: str = "corners.pt") -> list[str]:
    images = [images] if isinstance(images, str | Path) else images
    return [
        "score", *map(str, images), "--pose", str(models / pose),
        "--params", str(models / "bones.json"), "--skeleton", str(models / "rgb.json"),
        "--out", str(out), "--trust", *more,
    ]  # fmt: skip


def invoke(args: list[str]):
    return CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, args)


def run_score(models: Path, images, out: Path, *more: str, pose: str = "corners.pt"):
    result = invoke(score_args(models, images, out, *more, pose=pose))
    assert result.exit_code == 0, result.output
    return pq.read_table(out)


def metadata_of(table) -> dict:
    return json.loads(table.schema.metadata[b"vl4pose"])


# --- the table --------------------------------------------------------------------------------


def test_a_folder_becomes_one_sorted_row_per_image(models, photos, tmp_path):
    table = run_score(models, photos, tmp_path / "out.parquet")
    assert table["image"].to_pylist() == ["b.png", "c.png", "sub/a.PNG"]
    assert table["error"].to_pylist() == [None] * 3
    assert table["person_id"].to_pylist() == [None] * 3
    assert table["box"].to_pylist() == [None] * 3
    assert table["width"].to_pylist() == [200, 220, 210]
    assert table["height"].to_pylist() == [200] * 3
    assert table["status"].to_pylist() == [0] * 3
    assert table["params_flag"].to_pylist() == [False] * 3
    assert sorted(tmp_path.iterdir()) == [tmp_path / "out.parquet", photos]


def test_rows_hold_what_analyze_returns(models, photos, tmp_path):
    options = {"num_peaks": 3, "min_distance": 2, "method": "marginal", "temperature": 2.5}
    more = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    row = run_score(models, photos / "b.png", tmp_path / "o.parquet", *more).to_pylist()[0]

    transform = ImageTransform()
    pixels, placement = transform.apply(read_rgb(photos / "b.png"))
    skeleton = vl4pose.Skeleton.from_file(models / "rgb.json")
    scorer = vl4pose.Scorer(
        models / "corners.pt",
        None,
        skeleton,
        params=vl4pose.load_params(models / "bones.json", skeleton),
        trust=True,
        **options,
    )
    analysis = scorer(torch.from_numpy(pixels)[None])

    def in_image(xy):
        return transform.heatmap_to_image(xy[0].numpy(), (64, 64), placement)

    assert row["score"] == analysis.score[0]
    assert row["log_prob"] == analysis.refined.log_prob[0]
    assert row["per_link"] == analysis.per_link[0].tolist()
    assert row["entropy"] == analysis.entropy[0].tolist()
    assert row["multi_peak_entropy"] == pytest.approx(sum(row["entropy"]))
    assert row["confidence"] == analysis.confidence[0].tolist()
    assert row["peak_index"] == analysis.refined.peak_index[0].tolist()
    assert row["changed"] == analysis.refined.changed[0].tolist()
    np.testing.assert_allclose(row["keypoints"], in_image(analysis.keypoints), rtol=1e-6)
    refined = in_image(analysis.refined.keypoints)
    np.testing.assert_allclose(row["refined_keypoints"], refined, rtol=1e-6)


def test_the_columns_behind_a_score_are_those_of_analyze(models, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (150, 220, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    row = run_score(
        models, tmp_path / "noise.png", tmp_path / "o.parquet", "--embeddings",
        "--input-size", "128x96", "--temperature", "3", "--num-peaks", "4", "--min-distance", "1",
        pose="features.pt",
    ).to_pylist()[0]  # fmt: skip
    transform = ImageTransform(input_size=(128, 96))
    pixels, placement = transform.apply(read_rgb(tmp_path / "noise.png"))
    skeleton = vl4pose.Skeleton.from_file(models / "rgb.json")
    params = vl4pose.load_params(models / "bones.json", skeleton)
    scorer = vl4pose.Scorer(
        models / "features.pt", skeleton=skeleton, params=params, trust=True, temperature=3.0,
        num_peaks=4, min_distance=1,
    )  # fmt: skip
    prediction, features = scorer.predict_with_features(torch.from_numpy(pixels)[None])
    analysis = scorer.analyze(*prediction)
    assert row["link_params"] == [[LENGTH, LOG_VARIANCE]] * 2
    assert row["embedding"] == vl4pose.nn.pool_features(features)[0].tolist()
    size = (32, 24)
    origin, unit = transform.heatmap_to_image([(0, 0), (1, 1)], size, placement)
    assert row["heatmap_scale"] == (unit - origin).tolist()
    counts = analysis.peaks.count[0]
    assert [len(peaks) for peaks in row["peaks"]] == counts.tolist()
    assert counts.max() > 1
    weights = vl4pose.peak_weights(
        analysis.peaks.values, count=analysis.peaks.count, temperature=3.0
    )[0]
    for joint, peaks in enumerate(row["peaks"]):
        used = counts[joint]
        xy, weight, posterior = np.split(np.array(peaks), [2, 3], 1)
        in_image = transform.heatmap_to_image(
            analysis.peaks.xy[0, joint, :used].numpy(), size, placement
        )
        np.testing.assert_allclose(xy, in_image, rtol=1e-6)
        np.testing.assert_array_equal(weight[:, 0], weights[joint, :used].numpy())
        np.testing.assert_array_equal(posterior[:, 0], analysis.posterior[0, joint, :used].numpy())
        np.testing.assert_allclose(weight.sum(), 1, rtol=1e-6)
        assert (np.diff(weight[:, 0]) <= 0).all()  # the highest first


def test_embeddings_are_there_where_asked_for(models, photos, tmp_path):
    Image.new("RGB", (50, 40)).save(photos / "black.png")
    (photos / "broken.png").write_bytes(b"")
    table = run_score(models, photos, tmp_path / "o.parquet", pose="features.pt")
    assert table["embedding"].to_pylist() == [None] * 5
    table = run_score(models, photos, tmp_path / "o.parquet", "--embeddings", pose="features.pt")
    embeddings = dict(zip(*(table[n].to_pylist() for n in ("image", "embedding")), strict=True))
    assert embeddings["broken.png"] is None
    assert embeddings["black.png"] == [0, 0, 0]  # what is not there are its heatmaps
    assert all(0 < value < 1 for value in embeddings["b.png"])
    assert metadata_of(table)["settings"]["embeddings"] is True
    result = invoke(score_args(models, photos, tmp_path / "x.parquet", "--embeddings"))
    assert result.exit_code == 1
    assert "embeddings need a pose network that returns features" in result.stderr
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize("align", ["corners", "centers"])
def test_keypoints_are_where_the_dots_are(models, tmp_path, align):
    # A 512 x 384 image is halved and put 32 pixels down; the dots lie where heatmap pixels do.
    heatmap_pixels = np.array([(20, 17), (33, 25), (40, 44)])
    at_input = heatmap_pixels * 255 / 63 if align == "corners" else heatmap_pixels * 4 + 1.5
    points = (at_input - [0, 32] + 0.5) * 2 - 0.5
    dots(tmp_path / "dots.png", (512, 384), points, sigma=12)
    table = run_score(
        models, tmp_path / "dots.png", tmp_path / "o.parquet", "--heatmap-align", align,
        pose=f"{align}.pt",
    )  # fmt: skip
    np.testing.assert_allclose(table["keypoints"].to_pylist()[0], points, atol=1e-3)
    np.testing.assert_allclose(table["refined_keypoints"].to_pylist()[0], points, atol=1e-3)


def test_keypoints_in_a_box_are_in_image_pixels(models, tmp_path):
    dots(tmp_path / "dots.png", (640, 480), [(310, 200), (330, 230), (350, 190)], sigma=4)
    rows = [["image", "x", "y", "width", "height"], ["dots.png", 280, 150, 100, 120]]
    write_csv(tmp_path / "people.csv", rows)
    for fit in ("letterbox", "crop"):
        table = run_score(
            models, tmp_path / "people.csv", tmp_path / "o.parquet", "--fit", fit,
            "--subpixel", "dark",
        )  # fmt: skip
        found = table["keypoints"].to_pylist()[0]
        np.testing.assert_allclose(found, [(310, 200), (330, 230), (350, 190)], atol=0.2)
        assert table["box"].to_pylist() == [[280, 150, 100, 120]]


def test_metadata_says_how_the_scores_came_about(models, photos, tmp_path):
    table = run_score(
        models, photos, tmp_path / "o.parquet", "--mean", "0.1,0.2,0.3", "--temperature", "2",
        "--exclude-border", "true", "--batch-size", "2",
    )  # fmt: skip
    metadata = metadata_of(table)
    assert metadata == json.loads(pq.read_metadata(tmp_path / "o.parquet").metadata[b"vl4pose"])
    assert metadata["version"] == vl4pose.__version__
    assert metadata["settings"]["input"] == {
        "input_size": [256, 256],
        "mean": [0.1, 0.2, 0.3],
        "std": [1.0],
        "scale": 256.0,
        "fit": "letterbox",
        "crop_scale": 1.75,
        "heatmap_align": "corners",
    }
    assert metadata["settings"]["scoring"] == {
        "method": "expected",
        "objective": "map",
        "subpixel": None,
        "num_peaks": 5,
        "min_distance": 5,
        "threshold_abs": None,
        "threshold_rel": None,
        "exclude_border": True,
        "temperature": 2.0,
    }
    assert metadata["settings"]["run"]["batch_size"] == 2
    skeleton = json.loads((models / "rgb.json").read_text())
    assert metadata["skeleton"] == skeleton
    for kind, file in (("pose", "corners.pt"), ("params", "bones.json")):
        digest = hashlib.sha256((models / file).read_bytes()).hexdigest()
        assert metadata["models"][kind] == {"file": file, "sha256": digest}
    assert metadata["link_params"] == [[LENGTH, LOG_VARIANCE]] * 2
    assert metadata["source"]["kind"] == "folder"
    assert metadata["source"]["root"] == str(photos)
    assert metadata["source"]["ignored"] == {"other files": 1}
    assert metadata["heatmap_size"] == [64, 64]
    assert metadata["counts"] == {"found": 3, "scored": 3, "flagged": 0, "failed": 0}
    assert "timing" not in metadata  # the same run gives the same bytes


def test_an_auxiliary_network_gives_the_same_as_its_constants(models, photos, tmp_path):
    fixed = run_score(models, photos, tmp_path / "fixed.parquet")
    args = score_args(models, photos, tmp_path / "aux.parquet", pose="features.pt")
    args[args.index("--params") :][:2] = []
    at = args.index("--params")
    args[at : at + 2] = ["--aux", str(models / "aux.pt")]
    result = invoke(args)
    assert result.exit_code == 0, result.output
    table = pq.read_table(tmp_path / "aux.parquet")
    assert table["score"].to_pylist() == fixed["score"].to_pylist()
    metadata = metadata_of(table)
    assert set(metadata["models"]) == {"pose", "aux"}
    assert metadata["link_params"] is None


def test_batches_and_threads_do_not_change_the_rows(models, photos, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)  # it is the whole process's
    tables = [
        run_score(models, photos, tmp_path / "o.parquet", *more).to_pylist()
        for more in ([], ["--batch-size", "1"], ["--num-threads", "1", "--workers", "1"])
    ]
    assert asked == [1]
    assert tables[0] == tables[1] == tables[2]


def test_values_that_do_not_exist_are_null(models, photos, tmp_path):
    Image.new("RGB", (50, 40)).save(photos / "black.png")
    (photos / "broken.png").write_bytes(b"")
    table = run_score(models, photos, tmp_path / "o.parquet")
    rows = {row["image"]: row for row in table.to_pylist()}
    black, broken = rows["black.png"], rows["broken.png"]
    assert black["status"] == vl4pose.Status.NONFINITE_HEATMAP
    assert (black["width"], black["height"], black["error"]) == (50, 40, None)
    assert black["params_flag"] is False
    results = ["score", "log_prob", "multi_peak_entropy", "per_link", "entropy", "confidence"]
    results += ["keypoints", "refined_keypoints", "peak_index", "changed", "peaks", "embedding"]
    for name in results:
        assert black[name] is None, name
        assert broken[name] is None, name
    for name in ("status", "params_flag", "link_params", "heatmap_scale"):
        assert broken[name] is None, name
        assert black[name] is not None, name
    assert metadata_of(table)["counts"] == {"found": 5, "scored": 3, "flagged": 1, "failed": 1}


def test_params_out_of_range_are_flagged_and_scored(models, photos, tmp_path):
    (tmp_path / "bones.json").write_text(json.dumps([[12, 3], [12, 50]]))
    args = score_args(models, photos, tmp_path / "o.parquet")
    args[args.index("--params") + 1] = str(tmp_path / "bones.json")
    result = invoke(args)
    assert result.exit_code == 0, result.output
    table = pq.read_table(tmp_path / "o.parquet")
    assert table["status"].to_pylist() == [vl4pose.Status.CLAMPED_PARAMS] * 3
    assert table["params_flag"].to_pylist() == [True] * 3
    assert table["score"].null_count == 0
    assert metadata_of(table)["counts"]["flagged"] == 3
    assert "CLAMPED_PARAMS" in result.stdout


def test_an_older_table_is_replaced(models, photos, tmp_path):
    (tmp_path / "o.parquet").write_text("old")
    assert len(run_score(models, photos, tmp_path / "o.parquet")) == 3


# --- sources ----------------------------------------------------------------------------------


def write_csv(path: Path, rows) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def names(*arguments, images_dir: Path | None = None) -> list[str]:
    return [person.image for person in find_people(list(map(str, arguments)), images_dir).people]


def test_globs_files_and_folders(photos):
    assert names(photos) == ["b.png", "c.png", "sub/a.PNG"]
    assert names(photos / "*.png") == ["b.png", "c.png"]
    assert names(photos / "**" / "*.[pP][nN][gG]") == ["b.png", "c.png", "sub/a.PNG"]
    assert names(photos / "c.png") == ["c.png"]
    assert names(photos / "c.png", photos / "b.png", photos / "*.png") == ["b.png", "c.png"]
    assert names(photos / "sub" / "a.PNG", photos / "b.png") == ["b.png", "sub/a.PNG"]
    assert names(photos / "notes.txt") == ["notes.txt"]  # asked for by name: its row says why not
    (photos / "x[1].png").touch()
    assert names(photos / "x[1].png") == ["x[1].png"]
    (photos / ".hidden.png").touch()
    assert ".hidden.png" not in names(photos)
    assert find_people([str(photos / "*.png")]).root == str(photos)


def coco(people=(), images=((1, "b.png"), (2, "c.png"))) -> dict:
    return {
        "images": [{"id": i, "file_name": name} for i, name in images],
        "annotations": [
            {"id": 10 + n, "image_id": image, "bbox": box} for n, (image, box) in enumerate(people)
        ],
    }


def test_coco_people_are_rows(models, photos, tmp_path):
    data = coco(
        [
            (2, [40, 60, 100, 110]),
            (1, [40.5, 60, 100, 110]),
            (2, [30, 50, 150, 150]),
            (1, [0, 0, 0, 50]),
            (1, [900, 0, 50, 50]),
            (3, [0, 0, 10, 10]),
            (1, None),
            (1, [0, 0, "x", 1]),
        ],
        images=((1, "b.png"), (2, "c.png"), (4, "sub/a.PNG"), (5, "gone.png")),
    )
    data["annotations"].append({"id": 90, "image_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    data["annotations"].append({"id": 91, "image_id": 5, "bbox": [0, 0, 9, 9]})
    (tmp_path / "people.json").write_text(json.dumps(data))
    table = run_score(
        models, tmp_path / "people.json", tmp_path / "o.parquet", "--images", str(photos),
        "--fit", "crop",
    )  # fmt: skip
    rows = [(row["image"], row["person_id"], row["error"]) for row in table.to_pylist()]
    rule = "box must be four finite numbers x, y, width, height, got"
    assert rows == [
        (None, "15", "no image has the id 3"),
        ("b.png", "11", None),
        ("b.png", "13", "box must have a width and a height above 0, got [0, 0, 0, 50]"),
        ("b.png", "14", "box must overlap the image (200x200), got [900, 0, 50, 50]"),
        ("b.png", "16", f"{rule} null"),
        ("b.png", "17", f"{rule} [0, 0, 'x', 1]"),
        ("c.png", "10", None),
        ("c.png", "12", None),
        ("gone.png", "91", "no such file or directory"),
    ]
    metadata = metadata_of(table)
    assert metadata["source"]["ignored"] == {"crowd regions": 1, "images without a person": 1}
    assert metadata["counts"] == {"found": 9, "scored": 3, "flagged": 0, "failed": 6}


def test_csv_people(photos):
    rows = [
        ["id", "height", " image", "x", "y", "width", "extra"],
        ["p2", 10, "c.png", 1, 2, 3.5, "?"],
        ["", 10, "b.png", 1, 2, "wide", "?"],
        ["p3", 10, "", 1, 2, 3, "?"],
    ]
    write_csv(photos / "people.csv", rows)
    found = find_people([str(photos / "people.csv")]).people
    rule = "box must be four finite numbers x, y, width, height, got"
    assert [(p.image, p.person_id, p.box, p.error) for p in found] == [
        ("", "p3", (1, 2, 3, 10), "no image is named"),
        ("b.png", None, None, f"{rule} ['1', '2', 'wide', '10']"),
        ("c.png", "p2", (1, 2, 3.5, 10), None),
    ]


def coco_text(image: dict, *annotations: dict) -> str:
    image = image or {"id": 1, "file_name": "a.png"}
    return json.dumps({"images": [image], "annotations": annotations})


def test_coco_categories_and_ids(photos):
    def found(data):
        (photos / "people.json").write_text(json.dumps(data))
        source = find_people([str(photos / "people.json")])
        return [person.person_id for person in source.people], list(map(str, source.left_out))

    data = coco([(1, [0, 0, 9, 9])] * 5)
    for item, category in zip(data["annotations"], (1, 2, 3, None, [2]), strict=True):
        item["category_id"] = category
    data["annotations"][0]["id"] = None
    assert found(data) == ([None, "11", "12", "13", "14"], ["1 image without a person"])
    data["categories"] = [
        {"id": 1, "name": "Person"},
        {"id": 2, "name": "dog"},
        {"id": 3, "name": "hand", "keypoints": ["wrist"]},
    ]
    left_out = ["2 boxes of other categories", "1 image without a person"]
    assert found(data) == ([None, "12", "13"], left_out)


@pytest.mark.parametrize("name", ["id", "ID", "person_id"])
def test_csv_columns_in_any_case_and_spaces(photos, name):
    text = f"Image , X,y,WIDTH,height,{name},note\n b.png , 1 , 2 , 3 , 4 , p1 ,?\n\n"
    text += "b.png,1,2,3,4,p2,?,8\nb.png,1,2\n"
    (photos / "people.csv").write_text(text)
    source = find_people([str(photos / "people.csv")])
    assert [(p.image, p.person_id, p.box, p.error) for p in source.people] == [
        ("b.png", "p1", (1, 2, 3, 4), None),
        ("b.png", "p2", None, "line 4 must have 7 fields, got 8"),
        ("b.png", None, None, "line 5 must have 7 fields, got 3"),
    ]
    assert list(map(str, source.left_out)) == ["1 column (note)"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "a.csv",
            "image,x,y,widht,height\n",
            r"no 'width' \(did you mean 'widht'\?\) in image, x,",
        ),
        ("a.csv", "picture,x,y,width,height\n", "no 'image' .*in picture, x, y, width, height$"),
        ("a.csv", "image,x,y,width,X\n", "must have each column once, got 'X' again"),
        ("a.csv", "", "must have the columns image, x, y, width, height and may have id"),
        ("a.csv", "image,x,y,width,height\n", "must list at least one person, got none"),
        ("a.csv", "image,x,y,width,height\nz.png,1,2,3,4\n", "say where they are with images_dir"),
        ("a.json", "{", "Expecting property name"),
        ("a.json", "3", "must be a COCO keypoints file with 'images' and 'annotations', got 3"),
        ("a.json", "[]", "must be a COCO keypoints file .*, got a list of 0 entries"),
        ("a.json", '[{"image_id": 1}]', "a list of 1 results, which do not name the images' files"),
        ("a.json", '{"images": []}', "but has no 'annotations'$"),
        ("a.json", '{"images": {}, "annotations": []}', "each a list, got {} as 'images'"),
        ("a.json", '{"images": [7], "annotations": []}', r"images\[0\] must be an object, got 7"),
        ("a.json", coco_text({"id": 1}), r"images\[0\] must have 'file_name', got id"),
        ("a.json", coco_text({"id": 1, "file_name": None}), "a name as file_name, got null"),
        ("a.json", coco_text({"file_name": "a.png"}), r"images\[0\] must have 'id', got file_name"),
        ("a.json", coco_text({}, {}), r"annotations\[0\] must have 'image_id', got nothing"),
        (
            "a.json",
            coco_text({}, {"image_id": [1]}),
            r"annotations\[0\] must have an integer or text as image_id, got \[1\]",
        ),
        (
            "a.json",
            coco_text({}, {"image_id": 1, "id": {}}),
            r"annotations\[0\] must have an integer or text as id, got {}",
        ),
        (
            "a.json",
            coco_text({}, {"image_id": 1, "iscrowd": 1}),
            r"at least one person, got none; left out: 1 crowd region, 1 image without a person$",
        ),
        ("a.json", '{"images": [], "annotations": []}', "must list at least one person, got none"),
    ],
)
def test_annotations_that_are_no_annotations(tmp_path, file, text, message):
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        find_people([str(tmp_path / file)])


def test_other_files_are_told_by_their_endings(tmp_path):
    for name in ("a.jfif", "b.md", "c.md", "README", ".e", "f.1", "g.2", "h.3", "i.4"):
        (tmp_path / name).touch()
    source = find_people([str(tmp_path)])
    assert [person.image for person in source.people] == ["a.jfif"]
    (other,) = source.left_out
    assert (other.what, other.number) == ("other files", 8)
    assert other.detail.startswith(".md, ")
    assert other.detail.endswith(", ...")
    assert other.detail.count(",") == 5


def test_unreadable_files_are_named_once(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.touch()

    def refuse(self, *args, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=f"^'{path}': Permission denied$"):
        find_people([str(path)])


def test_images_that_are_not_there(photos):
    def message(*arguments, images_dir=None):
        with pytest.raises(ValueError, match=" ") as caught:
            find_people(list(map(str, arguments)), images_dir)
        return str(caught.value)

    (photos / "empty").mkdir()
    (photos / "people.csv").write_text("image,x,y,width,height\nb.png,1,2,3,4\n")
    assert "(did you mean 'sub'?)" in message(photos / "sup")
    assert "at least one image, got none" in message(photos / "empty")
    assert "match at least one file, got none" in message(photos / "*.gif")
    assert "got the folder" in message(photos / "b.png", photos / "sub")
    assert "one file of annotations alone" in message(photos / "people.csv", photos / "b.png")
    assert "images_dir goes with a .json or .csv" in message(photos, images_dir=photos)
    folder = photos / "nowhere"
    assert "images_dir must be a folder" in message(photos / "people.csv", images_dir=folder)


# --- images -----------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def jpeg_bytes(size=(64, 48)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def test_unreadable_images_are_rows_and_never_stop_the_run(models, photos, tmp_path):
    bad = {
        "a_cut.jpg": jpeg_bytes()[:1000],
        "a_empty.png": b"",
        "a_huge.png": png_header(60_000, 60_000),
        "a_text.jpg": b"hello",
        "a_torn.png": png_header(20, 20),
        b"a_\xff.png".decode("utf-8", "surrogateescape"): b"hello",
    }
    for name, data in bad.items():
        (photos / name).write_bytes(data)
    (photos / "a_link.png").symlink_to("nowhere.png")
    Image.fromarray(np.ones((4, 4), np.float32)).save(photos / "a_float.tiff")
    args = score_args(models, photos, tmp_path / "o.parquet", "--batch-size", "4")
    result = invoke(args)
    assert result.exit_code == 0, result.output
    table = pq.read_table(tmp_path / "o.parquet")
    errors = dict(zip(table["image"].to_pylist(), table["error"].to_pylist(), strict=True))
    assert list(errors) == [
        "a_cut.jpg", "a_empty.png", "a_float.tiff", "a_huge.png", "a_link.png", "a_text.jpg",
        "a_torn.png", "a_\\udcff.png", "b.png", "c.png", "sub/a.PNG",
    ]  # fmt: skip
    assert "truncated" in errors["a_cut.jpg"]
    assert errors["a_empty.png"] == "the file is empty"
    assert errors["a_float.tiff"] == "32-bit pixels (mode F) have no defined range"
    assert errors["a_huge.png"] == "larger than 179 megapixels"
    assert errors["a_link.png"] == "no such file or directory"
    assert errors["a_text.jpg"] == "not an image, or of an unknown format"
    assert errors["a_torn.png"] is not None
    assert errors["a_\\udcff.png"] == errors["a_text.jpg"]
    assert [errors[name] for name in ("b.png", "c.png", "sub/a.PNG")] == [None] * 3
    counts = metadata_of(table)["counts"]
    assert counts == {"found": 11, "scored": 3, "flagged": 0, "failed": 8}
    assert "failed (first 5 of 8)" in result.stdout
    assert "a_cut.jpg" in result.stdout


def test_nothing_readable_is_a_failure_with_a_table(models, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    result = invoke(score_args(models, tmp_path, tmp_path / "o.parquet"))
    assert result.exit_code == 1
    assert result.stderr == "Error: no image could be scored: the table holds their errors\n"
    assert pq.read_table(tmp_path / "o.parquet")["error"].to_pylist() == ["the file is empty"]


def saved(image: Image.Image, path: Path, **options) -> np.ndarray:
    image.save(path, **options)
    rgb = read_rgb(path)
    assert rgb.mode == "RGB"
    return np.asarray(rgb)


def test_every_kind_of_image_becomes_rgb(tmp_path):
    grey = Image.fromarray(np.array([[0, 128, 255]], np.uint8))
    expected = np.repeat(np.asarray(grey)[..., None], 3, axis=2)
    for mode in ("L", "P", "LA", "RGBA"):
        np.testing.assert_array_equal(saved(grey.convert(mode), tmp_path / "a.png"), expected)
    deep = Image.fromarray(np.array([[0, 128 * 257, 65535]], np.uint16))
    np.testing.assert_array_equal(saved(deep, tmp_path / "a.png"), expected)
    np.testing.assert_array_equal(saved(deep, tmp_path / "a.tiff"), expected)
    cmyk = Image.new("CMYK", (1, 1), (0, 255, 255, 0))
    np.testing.assert_array_equal(saved(cmyk, tmp_path / "a.tiff"), [[[255, 0, 0]]])
    bits = Image.fromarray(np.array([[True, False]]))
    np.testing.assert_array_equal(saved(bits, tmp_path / "a.png")[0, :, 0], [255, 0])


def test_transparent_pixels_are_over_black(tmp_path):
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)
    np.testing.assert_allclose(
        saved(Image.fromarray(rgba), tmp_path / "a.png"),
        [[[200, 100, 50], [0, 0, 0], [40, 20, 10]]],
        atol=1,
    )
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 80, 90, 100])
    palette.putpixel((1, 0), 1)
    found = saved(palette, tmp_path / "p.png", transparency=0)
    np.testing.assert_array_equal(found, [[[0, 0, 0], [80, 90, 100]]])


def test_exif_orientation_is_applied(tmp_path):
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    found = saved(image, tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(found[..., 0], np.rot90(np.asarray(image), -1))


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(UnreadableImageError, match="is a directory"):
        read_rgb(tmp_path)


def test_few_batches_are_in_flight(photos, monkeypatch):
    decoded = []

    def count(name, images):
        decoded.append(name)
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(batches_module, "read_rgb", count)
    write_csv(
        photos / "many.csv",
        [["image", "x", "y", "width", "height"]] + [["b.png", 0, 0, 9, 9]] * 100,
    )
    source = find_people([str(photos / "many.csv")])
    cuts = (source.people[start : start + 4] for start in range(0, 100, 4))
    made = batches_module.decoded_batches(source.images, cuts, ImageTransform(), workers=3)
    sizes = []
    for batch in made:
        sizes.append(len(batch.people))
        time.sleep(0.001)  # let the workers run as far ahead as they may
        assert len(decoded) <= sum(sizes) + 4 * 3
    assert sizes == [4] * 25
    assert len(decoded) == 100


# --- settings ---------------------------------------------------------------------------------


def test_the_command_line_wins_over_the_file_over_the_defaults(models, photos, tmp_path):
    pose = tmp_path / "net.pt"
    pose.write_bytes((models / "corners.pt").read_bytes())
    settings = {"input-size": "128x64", "crop_scale": 2, "mean": [1, 2, 3], "temperature": "3"}
    (tmp_path / "net.json").write_text(json.dumps(settings))
    args = score_args(models, photos, tmp_path / "o.parquet", "--mean=0", "--heatmap-align=corners")
    args[args.index("--pose") + 1] = str(pose)
    result = invoke(args)
    assert result.exit_code == 0, result.output
    said = f"Settings are from '{tmp_path / 'net.json'}', where no option says otherwise."
    assert result.stderr == said + "\n"
    metadata = metadata_of(pq.read_table(tmp_path / "o.parquet"))
    digest = hashlib.sha256((tmp_path / "net.json").read_bytes()).hexdigest()
    assert metadata["models"]["settings"] == {"file": "net.json", "sha256": digest}
    stored = metadata["settings"]
    assert stored["input"]["input_size"] == [128, 64]
    assert stored["input"]["crop_scale"] == 2.0
    assert stored["input"]["mean"] == [0.0]
    assert stored["input"]["scale"] == 256.0
    assert stored["scoring"]["temperature"] == 3.0


def test_link_params_beside_the_model_are_not_its_settings(models, photos, tmp_path):
    (tmp_path / "net.pt").write_bytes((models / "corners.pt").read_bytes())
    (tmp_path / "net.json").write_bytes((models / "bones.json").read_bytes())
    args = score_args(models, photos, tmp_path / "o.parquet")
    args[args.index("--pose") + 1] = str(tmp_path / "net.pt")
    args[args.index("--params") + 1] = str(tmp_path / "net.json")
    assert invoke(args).exit_code == 0


def test_the_settings_of_the_auxiliary_network_come_first(tmp_path):
    pose, aux, params = tmp_path / "pose.pt", tmp_path / "aux.pt", tmp_path / "aux.json"
    assert settings_file(pose, aux) is None
    pose.with_suffix(".json").touch()
    assert settings_file(pose, aux) == pose.with_suffix(".json")
    params.touch()
    assert settings_file(pose, aux) == params
    assert settings_file(pose, aux, params) == settings_file(pose) == pose.with_suffix(".json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"scal": 255}', "key must be one of .* \\(did you mean 'scale'\\?\\), got 'scal'"),
        ('{"fit": "croop"}', "fit must be one of letterbox, crop \\(did you mean 'crop'\\?\\)"),
        ('{"scale": "x"}', "scale must be a number, got 'x'"),
        ('{"input_size": [256]}', "input_size must be two whole numbers"),
        ('{"input_size": true}', "input_size must be two whole numbers"),
        ('{"temperature": [1]}', "temperature must be a number, got \\[1\\]"),
        ('{"temperature": 0}', "temperature must be between 1e-06 and 1e\\+06, got 0"),
        ('{"scale": null}', "scale must have a value, got null"),
        ('{"scale": 1, "scale": 2}', "keys must be there once each, got 'scale' twice"),
        ('{"crop-scale": 1, "crop_scale": 2}', "once each, got 'crop_scale' twice"),
        ("[1]", "must hold settings as a JSON object"),
        ("{", "must hold settings as JSON"),
    ],
)
def test_wrong_settings_name_their_file(tmp_path, text, message):
    file = tmp_path / "pose.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        input_settings({}, file)
    assert str(caught.value).startswith(f"'{file}'")


def test_crop_without_boxes_is_letterbox_and_says_so(models, photos, tmp_path):
    result = invoke(score_args(models, photos, tmp_path / "o.parquet", "--fit", "crop"))
    assert result.exit_code == 0, result.output
    assert result.stderr == (
        "Warning: the fit 'crop' needs boxes, and there are none: whole images are letterboxed.\n"
    )
    assert metadata_of(pq.read_table(tmp_path / "o.parquet"))["settings"]["input"]["fit"] == (
        "letterbox"
    )


def test_sizes_and_channels_have_several_spellings():
    for text in ("192x256", "192X256"):
        assert input_settings({"input_size": text}, None)[0].input_size == (192, 256)
    assert input_settings({"input_size": "64"}, None)[0].input_size == (64, 64)
    assert input_settings({"std": "0.5"}, None)[0].std == (0.5,)
    assert input_settings({"std": "0.5, 1, 2"}, None)[0].std == (0.5, 1.0, 2.0)


# --- errors -----------------------------------------------------------------------------------

WRONG = [
    (["--method", "expcted"], "--method must be one of .* \\(did you mean 'expected'\\?\\)"),
    (["--objective", "mpa"], "--objective must be one of map, eq6 \\(did you mean 'map'\\?\\)"),
    (["--subpixel", "drak"], "--subpixel must be .*one of .* \\(did you mean 'dark'\\?\\)"),
    (["--fit", "leterbox"], "--fit must be one of .* \\(did you mean 'letterbox'\\?\\)"),
    (["--heatmap-align", "centres"], "--heatmap-align .* \\(did you mean 'centers'\\?\\)"),
    (["--skeleton", "lps"], "--skeleton must be one of .* \\(did you mean 'lsp'\\?\\), got 'lps'"),
    (["--skeleton", "no.json"], "--skeleton must exist, got 'no.json'"),
    (["--input-size", "256,256"], "--input-size must be WIDTHxHEIGHT, got '256,256'"),
    (["--mean", "1,2"], "--mean must be one number or three"),
    (["--std", "0"], "--std must be positive"),
    (["--scale", "big"], "--scale must be a number, got 'big'"),
    (["--crop-scale", "-1"], "--crop-scale must be positive"),
    (["--temperature", "0"], "--temperature must be between 1e-06 and 1e\\+06, got 0"),
    (["--num-peaks", "0"], "--num-peaks must be between 1 and 4096, got 0"),
    (["--num-peaks", "two"], "--num-peaks must be a whole number, got 'two'"),
    (["--threshold-rel", "half"], "--threshold-rel must be a number, got 'half'"),
    (["--subpixel", "None"], "--subpixel must be one of quarter, centroid, dark, got 'None'$"),
    (["--num-threads", "100000"], "--num-threads must be between 1 and 1024, got 100000"),
    (["--workers", "0"], "--workers must be between 1 and 1024, got 0"),
    (["--min-distance", "0"], "--min-distance must be at least 1, got 0"),
    (["--threshold-abs", "nan"], "--threshold-abs must be finite, got nan"),
    (["--exclude-border", "yes"], "--exclude-border must be a whole number or 'true', got 'yes'"),
    (["--exclude-border", "-1"], "--exclude-border must be at least 0, got -1"),
    (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
    (["--device", "gpu"], "--device must be cpu, cuda or cuda:N, got 'gpu'"),
    (["--out", "nowhere/o.parquet"], "--out must be in a folder that exists"),
    (["--out", "o.csv"], "--out must end in .parquet or be a folder, got 'o.csv'"),
    (["--out", "o.parqet"], "--out must end in .parquet or be a folder, got 'o.parqet'"),
    (["--out", "o.parquet", "--resume"], "--resume must go with a folder, got the file"),
    (["--out", "nowhere/o"], "--out must be in a folder that exists"),
    (["--shard-rows", "0"], "--shard-rows must be at least 1, got 0"),
    (
        ["--engine", "rey"],
        "--engine must be one of local, ray \\(did you mean 'ray'\\?\\), got 'rey'",
    ),
    (["--pose", "no.pt"], "--pose must exist, got 'no.pt'"),
    (["--params", "."], "--params must be a file, got the folder '.'"),
    (["--metod", "max"], "No such option: --metod \\(did you mean --method\\?\\)"),
    (["--method"], "Option '--method' requires an argument"),
]


@pytest.mark.parametrize(("more", "message"), WRONG, ids=[" ".join(more) for more, _ in WRONG])
def test_a_wrong_option_is_one_sentence_and_code_2(models, photos, tmp_path, more, message):
    result = invoke(score_args(models, photos, tmp_path / "o.parquet", *more))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    first, hint = result.stderr.splitlines()
    assert re.search(message, first), first
    assert first.startswith("Error: ")
    assert hint.startswith("Try 'vl4pose")
    assert not (tmp_path / "o.parquet").exists()


def without(args: list[str], option: str, values: int = 1) -> list[str]:
    at = args.index(option)
    return args[:at] + args[at + 1 + values :]


def test_missing_options(models, photos, tmp_path):
    args = score_args(models, photos, tmp_path / "o.parquet")
    result = invoke(without(args, "--trust", 0))
    assert result.exit_code == 2
    assert "--trust must be given: loading a TorchScript or .pt2 file can run code" in result.stderr
    result = invoke(without(args, "--params"))
    assert result.exit_code == 2
    assert "either --aux or --params must be given, got neither" in result.stderr
    result = invoke([*args, "--aux", str(models / "aux.pt")])
    assert result.exit_code == 2
    assert "either --aux or --params must be given, got both" in result.stderr
    result = invoke(without(args, "--out"))
    assert result.exit_code == 2
    assert "Missing option '--out'" in result.stderr


def test_mistyped_commands_and_options_suggest_the_right_one():
    for args, nearest in (
        (["scroe"], "Did you mean 'score'?"),
        (["doctr"], "Did you mean 'doctor'?"),
        (["--verson"], "(did you mean --version?)"),
        (["score", "x", "--skelton", "lsp"], "(did you mean --skeleton?)"),
    ):
        result = invoke(args)
        assert result.exit_code == 2
        assert nearest in result.stderr


def test_files_that_are_no_models(models, photos, tmp_path):
    args = score_args(models, photos, tmp_path / "o.parquet")
    args[args.index("--pose") + 1] = str(models / "bones.json")
    result = invoke(args)
    assert result.exit_code == 2
    assert "Error: --pose must be a TorchScript or torch.export file, got" in result.stderr
    args = score_args(models, photos, tmp_path / "o.parquet", "--skeleton", "lsp")
    result = invoke(args)
    assert result.exit_code == 2
    assert "bones.json must hold link params" in result.stderr
    assert not (tmp_path / "o.parquet").exists()


def test_weights_without_a_program_say_how_to_save_one(models, photos, tmp_path):
    torch.save(torch.nn.Linear(1, 1).state_dict(), tmp_path / "pose.pt")
    args = score_args(models, photos, tmp_path / "o.parquet")
    args[args.index("--pose") + 1] = str(tmp_path / "pose.pt")
    result = invoke(args)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: --pose must be a TorchScript or torch.export file, got")
    assert "which holds weights without a program" in result.stderr
    assert "torch.jit.script(module).save('pose.pt')" in result.stderr


def test_what_this_torch_cannot_do_is_one_sentence(models, photos, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise RuntimeError("device must be None for a torch.export file")

    monkeypatch.setattr("vl4pose.scorer._load", refuse)
    result = invoke(score_args(models, photos, tmp_path / "o.parquet"))
    assert result.exit_code == 1
    assert result.stderr == "Error: device must be None for a torch.export file\n"


def test_a_network_that_fails_leaves_no_file(models, photos, tmp_path):
    Image.new("RGB", (64, 64), (255, 255, 255)).save(photos / "z_white.png")
    (tmp_path / "o.parquet").write_text("of an earlier run")
    result = invoke(score_args(models, photos, tmp_path / "o.parquet", "--batch-size", "2"))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: the networks fail on a batch of 2 x 3 x 256 x 256: ")
    assert line.endswith(": RuntimeError: white images are too bright: nothing was written")
    assert (tmp_path / "o.parquet").read_text() == "of an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.parquet", "photos"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("first\n  tensor([1,\n 2])"), "first"),
        (KeyError("x"), "KeyError: 'x'"),
        (AssertionError(), "AssertionError"),
        (
            RuntimeError(
                "The following operation failed in the TorchScript interpreter.\nTraceback of "
                "TorchScript (most recent call last):\n  File x.py, line 3\n"
                "builtins.ValueError: got a map\ntensor([[0., 0.],\n        [0., 0.]])"
            ),
            "ValueError: got a map",
        ),
    ],
)
def test_the_line_that_says_why_a_network_fails(error, line):
    assert network_reason(error) == line


def test_bones_of_another_skeleton(models, photos, tmp_path):
    vl4pose.save_params(tmp_path / "bones.json", [[9, 2]] * 13, "lsp")
    args = score_args(models, photos, tmp_path / "o.parquet", "--skeleton", "mpii")
    args[args.index("--params") + 1] = str(tmp_path / "bones.json")
    result = invoke(args)
    assert result.exit_code == 2
    file = tmp_path / "bones.json"
    assert f"--skeleton must be 'lsp', which {file} is for, got 'mpii'" in result.stderr


def test_a_link_in_the_place_of_the_table_stays(models, photos, tmp_path):
    (tmp_path / "tables").mkdir()
    link = tmp_path / "o.parquet"
    link.symlink_to("tables/real.parquet")
    assert len(run_score(models, photos, link)) == 3
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["real.parquet"]
    link.unlink()
    link.symlink_to("nowhere/real.parquet")
    result = invoke(score_args(models, photos, link))
    assert result.exit_code == 2
    assert "--out must be in a folder that exists" in result.stderr


def test_a_full_disk_leaves_no_file(models, photos, tmp_path, monkeypatch):
    def full(temporary, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vl4pose.pool.outputs.move_into_place", full)
    result = invoke(score_args(models, photos, tmp_path / "o.parquet"))
    assert result.exit_code == 1
    expected = f"Error: cannot write '{tmp_path / 'o.parquet'}': No space left on device"
    assert result.stderr == f"{expected}: nothing was written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_what_the_system_refuses_is_one_sentence(models, tmp_path):
    result = invoke(score_args(models, "x" * 300, tmp_path / "o.parquet"))
    assert result.exit_code == 1
    assert result.stderr == f"Error: '{'x' * 300}': File name too long\n"


def test_what_is_printed_is_printable():
    assert printable("a\x1b[31m\nb\udcff c é") == "a\\x1b[31m\\nb\\udcff c é"


# --- the terminal -----------------------------------------------------------------------------


def test_help_is_worth_reading():
    top = invoke(["--help"])
    assert top.exit_code == 0
    assert "score" in top.stdout
    assert "doctor" in top.stdout
    assert invoke([]).stdout == top.stdout
    page = invoke(["score", "--help"]).stdout
    for panel in ("Models", "Image to network and back", "Peaks and scores", "Running"):
        assert panel in page
    for words in ("[length, log-variance]", "[default: 256x256]", "vl4pose score photos --pose"):
        assert words in page
    assert "vl4pose score [OPTIONS] IMAGES..." in page
    for page_ in (page, top.stdout):
        assert "<bool>" not in page_
        assert "completion" not in page_
    assert max(map(len, page.splitlines())) <= 80


def test_a_summary_at_the_end(models, photos, tmp_path):
    (photos / "evil\x1b[31m.png").write_bytes(b"")
    result = invoke(score_args(models, photos, tmp_path / "o.parquet"))
    assert result.exit_code == 0
    assert re.search(r"found\s+scored\s+flagged\s+failed\s+4\s+3\s+0\s+1\s", result.stdout)
    for part in ("waiting for images", "networks", "vl4pose", "images/s"):
        assert part in result.stdout
    assert "lowest scores" in result.stdout
    assert "evil\\x1b[31m.png  the file is empty" in result.stdout
    assert "  1 other file (.txt)\n" in result.stdout
    assert "\x1b" not in result.output
    assert result.stderr == ""


def test_a_summary_names_what_is_flagged_and_aligns_scores():
    def row(name, score, status):
        return {"image": name, "person_id": None, "error": None, "status": status, "score": score}

    rows = [row(f"{i}.png", None, 8) for i in range(6)]
    rows += [row("a.png", -5.0, 3), row("b.png", -1234567890.0, 0), row("c.png", None, 4)]
    table = pa.Table.from_pylist(rows, pa.schema([SCHEMA.field(name) for name in rows[0]]))
    tally = Tally(9)
    tally.add(table)
    assert tally.counts() == {"found": 9, "scored": 1, "flagged": 8, "failed": 0}
    console = Console(file=io.StringIO(), width=80)
    summary_module.show_summary(PoolResult(tally, Timing(), 9), [], "o", console)
    shown = console.file.getvalue()
    assert "lowest scores, to annotate first\n  -1.23457e+09  b.png\n         -5.00  a.png" in shown
    assert "flagged (first 5 of 8)\n  0.png  NONFINITE_HEATMAP\n" in shown
    assert "  1 PEAK_FALLBACK\n" in shown
    assert "  6 NONFINITE_HEATMAP\n" in shown


def test_the_rate_is_that_of_the_whole_run():
    bar = summary_module.Progress(console=Console(file=io.StringIO()), get_time=lambda: now)
    rate = summary_module._Rate("images")
    now = 100.0
    task = bar.add_task("", total=8)
    assert rate.render(bar.tasks[0]).plain == "- images/s"
    now = 102.0
    bar.advance(task, 4)
    assert rate.render(bar.tasks[0]).plain == "2.0 images/s"
    bar.advance(task, 4)
    now = 110.0
    assert rate.render(bar.tasks[0]).plain == "4.0 images/s"


def test_progress_in_a_log_is_plain_lines(monkeypatch):
    monkeypatch.setattr(summary_module, "_SECONDS_BETWEEN_LINES", 0.0)
    console = Console(file=io.StringIO(), force_terminal=False, width=80)
    with summary_module.progress(Tally(4), console) as advance:
        advance(2)
        advance(2)
    (line,) = console.file.getvalue().splitlines()
    assert re.fullmatch(r"2 of 4, [\d.]+ images/s, \d+ min left", line)


def test_progress_on_a_terminal_is_a_bar():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with summary_module.progress(Tally(4, "people"), console) as advance:
        advance(4)
    shown = console.file.getvalue()
    assert "4/4" in shown
    assert "people/s" in shown


def test_version():
    assert invoke(["--version"]).stdout == f"vl4pose {vl4pose.__version__}\n"


def test_doctor_needs_no_extras():
    done = run_process(HIDE.format("typer", ["vl4pose", "doctor"]))
    assert done.returncode == 0, done.stderr
    assert re.search(r"typer +not installed: pip install 'vl4pose\[cli\]'", done.stdout)
    if _core.build_info()["cuda"] is None:
        assert re.search(r"cuda +none: this build has CPU kernels only", done.stdout)
    else:
        assert re.search(r"cuda +\d+\.\d", done.stdout)
        assert re.search(
            r"GPUs +(none: the CUDA kernels of vl4pose need|\w.* \(\d+\.\d\))", done.stdout
        )
    assert "default threads" in done.stdout


def test_doctor_names_what_there_is():
    done = run_process([*MAIN, "doctor"])  # it imports what Ray's tests must import first
    page = done.stdout
    for words in (vl4pose.__version__, np.__version__, torch.__version__, "compiler", "CUDA"):
        assert words in page
    assert re.search(rf"kernels used +{vl4pose.get_cpu_capability()}, of baseline", page)
    for package, extra in (("fsspec", "remote"), ("ray", "ray"), ("usearch", "ann")):
        missing = re.escape(f"not installed: pip install 'vl4pose[{extra}]'")
        assert re.search(rf"{package} +(\d[\d.]*|{missing})\n", page)


def test_doctor_shows_a_wrong_cpu_capability():
    variable = {"VL4POSE_CPU_CAPABILITY": "avx3"}
    done = run_process([*MAIN, "doctor"], env={**os.environ, **variable})
    assert done.returncode == 0, done.stderr
    assert "must be one of" in done.stdout
    assert "avx3" in done.stdout


# --- real processes ---------------------------------------------------------------------------


def run_process(code_or_args, **options):
    command = (
        [sys.executable, "-c", code_or_args] if isinstance(code_or_args, str) else code_or_args
    )
    return subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, **options
    )


def test_a_process_without_a_terminal(models, photos, tmp_path):
    args = score_args(models, photos, tmp_path / "o.parquet")
    (photos / "\xe9.png").write_bytes(b"")
    environment = {"PYTHONWARNINGS": "default", "PYTHONIOENCODING": "ascii"}
    done = run_process([*MAIN, *args], env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert f"written to {tmp_path / 'o.parquet'}" in done.stdout
    assert "\\xe9.png  the file is empty" in done.stdout
    assert len(pq.read_table(tmp_path / "o.parquet")) == 4


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "Interrupted"), (signal.SIGTERM, "Terminated")]
)
def test_a_stopped_process_leaves_no_file(models, photos, tmp_path, number, word):
    write_csv(
        photos / "many.csv",
        [["image", "x", "y", "width", "height"]] + [["b.png", 0, 0, 90, 90]] * 500_000,
    )
    out = tmp_path / "o.parquet"
    process = subprocess.Popen(
        [*MAIN, *score_args(models, photos / "many.csv", out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored here
    )
    while not list(tmp_path.glob(".o.parquet.*.tmp")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 128 + number
    assert stdout == ""
    assert stderr == f"{word}: nothing was written.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


HIDE = "import sys; sys.modules[{!r}] = None; from vl4pose.cli import main; sys.argv = {!r}; main()"


def test_missing_extras_are_named(models, photos, tmp_path):
    args = ["vl4pose", *score_args(models, photos, tmp_path / "o.parquet")]
    done = run_process(HIDE.format("typer", ["vl4pose"]))
    assert done.returncode == 1
    assert done.stderr == "vl4pose: typer is not installed: pip install 'vl4pose[cli]'\n"
    done = run_process(HIDE.format("pyarrow", args))
    assert done.returncode == 1
    assert done.stderr == "Error: pyarrow is not installed: pip install 'vl4pose[cli]'\n"
    done = run_process(HIDE.format("torch", args))
    assert done.returncode == 1
    assert done.stderr == "Error: torch is not installed: pip install 'vl4pose[torch]'\n"
    done = run_process(HIDE.format("torch", ["vl4pose", "doctor"]))
    assert done.returncode == 0
    assert "not installed: pip install 'vl4pose[torch]'" in done.stdout
