"""``vl4pose fit``: annotations, images, what is written, what is refused, and kill -9."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")
pytest.importorskip("typer")
pq = pytest.importorskip("pyarrow.parquet")
scipy_io = pytest.importorskip("scipy.io")

from PIL import Image  # noqa: E402
from training_figures import SKELETON, one_thread, pictures, poses, tiny_pose  # noqa: E402, F401
from typer.testing import CliRunner  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose import Scorer, get_skeleton, nn  # noqa: E402
from vl4pose.annotated_people import read_annotated_people  # noqa: E402
from vl4pose.annotations import Person, read_coco, read_csv  # noqa: E402
from vl4pose.cli.app import app  # noqa: E402
from vl4pose.cli.errors import UsageError  # noqa: E402
from vl4pose.cli.validation_split import split_by_image  # noqa: E402
from vl4pose.image_transform import ImageTransform  # noqa: E402
from vl4pose.lsp_annotations import read_mat  # noqa: E402
from vl4pose.pool.decoding import UnreadableImageError  # noqa: E402
from vl4pose.training.annotated_images import AnnotatedImages  # noqa: E402

MAIN = [sys.executable, "-c", "from vl4pose.cli import main; main()"]
LSP = get_skeleton("lsp")
NUM_PEOPLE = 16


# --- annotations: COCO ------------------------------------------------------------------------


def coco(keypoints, *, names=SKELETON.joints) -> dict:
    return {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}
            | ({} if keypoints is None else {"keypoints": keypoints})
        ],
        "categories": [
            {"id": 1, "name": "person"} | ({} if names is None else {"keypoints": names})
        ],
    }


def read_json(tmp_path: Path, data: dict, skeleton=SKELETON) -> Person:
    (tmp_path / "a.json").write_text(json.dumps(data))
    (person,), _ = read_coco(tmp_path / "a.json", skeleton)
    return person


def test_coco_joints_go_by_name(tmp_path: Path) -> None:
    keypoints = [1, 2, 2, 3, 4, 1, 0, 0, 0, 9, 9, 2]
    person = read_json(tmp_path, coco(keypoints, names=["left_hand", "HEAD", "right_hand", "tail"]))
    expected = [[3, 4], [1, 2], [np.nan, np.nan]]
    np.testing.assert_array_equal(person.keypoints, expected)
    assert (person.image, person.person_id, person.box) == ("a.png", "7", (1, 2, 30, 40))
    assert person.error is None


def test_coco_without_names_has_cocos(tmp_path: Path) -> None:
    keypoints = np.stack([np.arange(17), np.arange(17) + 0.5, np.full(17, 2)], 1).ravel().tolist()
    person = read_json(tmp_path, coco(keypoints, names=None), get_skeleton("coco"))
    np.testing.assert_array_equal(person.keypoints[:, 0], np.arange(17))
    arm = vl4pose.Skeleton("arm", ["relb", "rwri"], [("relb", "rwri")])
    person = read_json(tmp_path, coco(keypoints, names=None), arm)
    np.testing.assert_array_equal(person.keypoints[:, 0], [8, 10])


@pytest.mark.parametrize(
    ("keypoints", "got"),
    [
        (None, "null"),
        ([1, 2], "2 values"),
        ([1, 2, 2] * 2, "6 values"),
        ("text", '"text"'),
        ([1, 2, 2, "x", 4, 2, 5, 6, 2], '[1, 2, 2, "x", 4, 2, 5, 6, 2]'),
        ([1, 2, 2, None, 4, 2, 5, 6, 2], "[1, 2, 2, null, 4, 2, 5, 6, 2]"),
    ],
)
def test_coco_keypoints_that_are_none_are_the_persons_error(tmp_path: Path, keypoints, got) -> None:
    person = read_json(tmp_path, coco(keypoints))
    assert person.keypoints is None
    assert person.error == f"keypoints must be three finite numbers x, y, flag each, got {got}"


def test_coco_without_a_joint_is_refused(tmp_path: Path) -> None:
    message = (
        r"must have a keypoint for each joint of skeleton 'arms', got none for 'left_hand' "
        r"\(did you mean 'left_hnad'\?\) in head, left_hnad, right_hand$"
    )
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path, coco([0] * 9, names=["head", "left_hnad", "right_hand"]))
    with pytest.raises(ValueError, match="for each joint once, got 'Head' again"):
        read_json(tmp_path, coco([0] * 12, names=[*SKELETON.joints, "Head"]))


def test_coco_people_of_categories_with_other_keypoints(tmp_path: Path) -> None:
    data = coco([1, 2, 2] * 3)
    data["categories"].insert(0, {"id": 2, "name": "hand", "keypoints": ["wrist"]})
    assert read_json(tmp_path, data).keypoints.tolist() == [[1, 2]] * 3
    data["annotations"][0]["category_id"] = 2
    person = read_json(tmp_path, data)
    assert person.error == "its category has no keypoints of skeleton 'arms'"
    del data["annotations"][0]["category_id"], data["categories"][0]
    assert read_json(tmp_path, data).error is None


# --- annotations: CSV -------------------------------------------------------------------------


def write_csv(path: Path, rows) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


ARM = vl4pose.Skeleton("arm", ["left_elbow", "left_wrist"], [("left_elbow", "left_wrist")])


def test_csv_joints_with_short_names_and_flags(tmp_path: Path) -> None:
    header = ["Image", "lelb_x", "lelb_y", "left_wrist_X", "LWRI_y", "lwri_visible", "mood"]
    rows = [
        header,
        ["a.png", 1, 2, 3.5, 4, 1, "good"],
        ["b.png", "", "", 3, 4, "FALSE", "bad"],
        ["c.png", 1, "", 3, 4, 1, ""],
        ["d.png", 1, 2, "nan", 4, "true", ""],
        ["e.png", 1, 2, 3, 4, "maybe", ""],
    ]
    people, left_out = read_csv(write_csv(tmp_path / "a.csv", rows), ARM)
    np.testing.assert_array_equal(people[0].keypoints, [[1, 2], [3.5, 4]])
    np.testing.assert_array_equal(people[1].keypoints, np.full((2, 2), np.nan))
    rule = "must be finite numbers, or both empty, got"
    assert [person.error for person in people] == [
        None,
        None,
        f"lelb_x and lelb_y {rule} '1' and ''",
        f"left_wrist_X and LWRI_y {rule} 'nan' and '4'",
        "lwri_visible must be 1 or 0, got 'maybe'",
    ]
    assert [person.box for person in people] == [None] * 5
    assert list(map(str, left_out)) == ["1 column (mood)"]


def test_csv_joints_in_boxes(tmp_path: Path) -> None:
    joints = ["lelb_x", "lelb_y", "lwri_x", "lwri_y"]
    rows = [
        ["image", *joints, "x", "y", "width", "height", "id"],
        ["a.png", 1, 2, 3, 4, 5, 6, 7, 8, "p"],
    ]
    (person,), _ = read_csv(write_csv(tmp_path / "a.csv", rows), ARM)
    assert (person.box, person.person_id) == ((5, 6, 7, 8), "p")
    rows[0][5] = "left"
    with pytest.raises(ValueError, match="all or none of x, y, width, height; got no 'x'"):
        read_csv(write_csv(tmp_path / "a.csv", rows), ARM)
    rows[0][3] = "lwrist_x"
    rows[0][5] = "x"
    message = "must have a column <joint>_x for each joint of skeleton 'arm', got none for "
    with pytest.raises(ValueError, match=message + r"'left_wrist' \(did you mean 'lwrist'\?\)"):
        read_csv(write_csv(tmp_path / "a.csv", rows), ARM)


# --- annotations: LSP -------------------------------------------------------------------------


def lsp_joints() -> np.ndarray:
    """Return (3, 14, 4): joint j of person n at (j, 10 n), joint 13 (the head) flagged."""
    joints = np.zeros((3, 14, 4))
    joints[0] = np.arange(14)[:, None]
    joints[1] = 10 * np.arange(4)
    joints[2, 13] = 1
    return joints


def test_mat_of_either_dataset(tmp_path: Path) -> None:
    path = tmp_path / "joints.mat"
    scipy_io.savemat(path, {"joints": lsp_joints()})
    people = read_mat(path, LSP)
    assert [person.image for person in people] == [f"im000{n}.jpg" for n in range(1, 5)]
    places = dict(zip(LSP.joints, people[2].keypoints.tolist(), strict=True))
    assert places["head"] == [13, 20]
    assert places["right_ankle"] == [0, 20]
    assert places["left_ankle"] == [5, 20]
    assert places["left_wrist"] == [11, 20]
    assert places["right_shoulder"] == [8, 20]

    scipy_io.savemat(path, {"joints": lsp_joints().transpose(1, 0, 2)})
    people = read_mat(path, LSP)
    assert [person.image for person in people] == [f"im0000{n}.jpg" for n in range(1, 5)]
    seen = np.isfinite(people[2].keypoints).all(axis=1)
    assert [name for name, known in zip(LSP.joints, seen, strict=True) if known] == ["head"]
    assert people[2].keypoints[0].tolist() == [13, 20]
    assert np.isfinite(read_mat(path, LSP, "occluded")[2].keypoints).all()


def test_mat_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "joints.mat"
    path.write_text("not a matrix")
    with pytest.raises(ValueError, match=r"must be a MATLAB file of version 4 to 7\.2"):
        read_mat(path, LSP)
    for name, array, got in (
        ("joint", lsp_joints(), "none"),
        ("joints", np.ones((2, 14)), "2 x 14"),
    ):
        scipy_io.savemat(path, {name: array})
        with pytest.raises(ValueError, match=f"must hold 'joints', 3 x 14 x N .* got {got}$"):
            read_mat(path, LSP)
    scipy_io.savemat(path, {"joints": lsp_joints()})
    with pytest.raises(ValueError, match="each joint of skeleton 'mpii', got none for 'pelvis'"):
        read_mat(path, get_skeleton("mpii"))


def test_real_lsp(test_data: Path) -> None:
    folder = test_data / "lsp"
    found = read_annotated_people("ANNOTATIONS", folder / "joints.mat", folder / "images", LSP)
    assert len(found.people) == 2000
    assert all((found.root / person.image).is_file() for person in found.people[::100])
    keypoints = np.stack([person.keypoints for person in found.people])
    assert np.isfinite(keypoints).all()
    height = dict(zip(LSP.joints, keypoints[..., 1].mean(axis=0), strict=True))
    downwards = ["head", "neck", "left_shoulder", "left_hip", "left_knee", "left_ankle"]
    assert sorted(downwards, key=height.__getitem__) == downwards


# --- people -----------------------------------------------------------------------------------


def test_a_split_goes_by_image() -> None:
    people = [Person(f"{n // 3}.png") for n in range(30)]
    train, validation = split_by_image(people, 0.2, seed=0)
    assert sorted(train + validation) == list(range(30))
    assert len(validation) == 6
    assert not {people[i].image for i in train} & {people[i].image for i in validation}
    assert split_by_image(people, 0.2, seed=0) == (train, validation)
    assert split_by_image(people, 0.2, seed=1) != (train, validation)
    assert len(split_by_image(people, 1e-9, 0)[1]) == 3
    assert len(split_by_image(people, 0.999, 0)[0]) == 3
    with pytest.raises(
        UsageError, match="--val must be a file of annotations unless there are two"
    ):
        split_by_image(people[:3], 0.5, 0)


def save_image(pixels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * pixels).round().astype(np.uint8).transpose(1, 2, 0)).save(path)


def test_people_become_network_input(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((3, 40, 60))
    save_image(image, tmp_path / "a.png")
    keypoints = np.array([[10.0, 20.0], [30.0, 5.0], [np.nan, np.nan]])
    people = [
        Person("a.png", keypoints=keypoints),
        Person("a.png", "7", (10, 10, 20, 20), keypoints=keypoints),
    ]
    transform = ImageTransform((64, 64), fit="crop")
    told: list[int] = []
    dataset, failures = AnnotatedImages.open(
        tmp_path, people, SKELETON, transform, (16, 16), advance=told.append
    )
    assert failures == []
    assert sum(told) == 2
    rgb = Image.open(tmp_path / "a.png")
    for index, person in enumerate(people):
        pixels, placement = transform.apply(rgb, person.box)
        expected = transform.image_to_heatmap(keypoints, (16, 16), placement)
        found, joints, visible = dataset[index]
        np.testing.assert_array_equal(found.numpy(), pixels)
        np.testing.assert_allclose(joints.numpy(), expected, rtol=1e-6)
        assert visible.tolist() == [True, True, False]
        assert torch.equal(dataset.annotations().visible[index], visible)
    (only,) = dataset.subset([1]).people
    assert only is people[1]


def test_people_who_are_of_no_use_are_named(tmp_path: Path) -> None:
    save_image(np.zeros((3, 40, 60)), tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not an image")
    good = np.zeros((3, 2))
    nowhere = np.full((3, 2), np.nan)
    alone = np.array([[np.nan, np.nan], [1, 1], [2, 2]])
    people = [
        Person("", "1", error="no image has the id 3"),
        Person("a.png", "2", keypoints=nowhere),
        Person("a.png", "3", keypoints=alone),
        Person("a.png", "4", (0, 0, 0, 5), keypoints=good),
        Person("a.png", "5", error="box must be ..."),
        Person("a.png", "6", keypoints=good),
        Person("b.png", "7", keypoints=good),
        Person("gone.png", "8", keypoints=good),
    ]
    dataset, failures = AnnotatedImages.open(
        tmp_path, people, SKELETON, ImageTransform((64, 64)), (16, 16), workers=3
    )
    assert [person.person_id for person in dataset.people] == ["6"]
    no_link = "no link has both its joints annotated"
    assert [(failure.person.person_id, failure.reason) for failure in failures] == [
        ("1", "no image has the id 3"),
        ("2", no_link),
        ("3", no_link),
        ("4", "box must have a width and a height above 0, got [0, 0, 0, 5]"),
        ("5", "box must be ..."),
        ("7", "not an image, or of an unknown format"),
        ("8", "no such file or directory"),
    ]


def test_an_image_that_has_gone_meanwhile_is_named(tmp_path: Path) -> None:
    save_image(np.zeros((3, 40, 60)), tmp_path / "a.png")
    people = [Person("a.png", keypoints=np.zeros((3, 2)))]
    transform = ImageTransform((64, 64))
    dataset, _ = AnnotatedImages.open(tmp_path, people, SKELETON, transform, (16, 16))
    (tmp_path / "a.png").unlink()
    with pytest.raises(UnreadableImageError, match=r"/a\.png': no such file or directory$"):
        dataset[0]


# --- the command ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A folder of images/, people.csv, arms.json, pose.pt and weights.safetensors."""
    folder = tmp_path_factory.mktemp("project")
    keypoints = poses(NUM_PEOPLE, seed=0)
    rows = [["image", *(f"{joint}_{axis}" for joint in SKELETON.joints for axis in "xy")]]
    for number, (pixels, joints) in enumerate(zip(pictures(keypoints), keypoints, strict=True)):
        save_image(pixels.numpy(), folder / "images" / f"{number:02d}.png")
        rows.append([f"{number:02d}.png", *(joints * 63 / 15).ravel().tolist()])
    write_csv(folder / "people.csv", rows)
    SKELETON.to_file(folder / "arms.json")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(tiny_pose().eval()).save(str(folder / "pose.pt"))
    (folder / "pose.json").write_text('{"input_size": "64x64", "scale": 255}')
    nn.save(nn.StackedHourglass(3, 1, 4), folder / "weights.safetensors")
    return folder


def fit_args(project: Path, out: Path, *more: str, pose: str | None = "pose.pt") -> list[str]:
    args = [
        "fit", str(project / "people.csv"), "--images", str(project / "images"),
        "--skeleton", str(project / "arms.json"), "--out", str(out),
        "--epochs", "2", "--batch-size", "6", "--views", "1", "--val", "0.25", "--workers", "2",
    ]  # fmt: skip
    if pose is not None:
        args += ["--pose", str(project / pose), "--trust"]
    return [*args, *more]


def invoke(args: list[str]):
    return CliRunner(env={"COLUMNS": "80", "TERM": "dumb"}).invoke(app, args)


def run_fit(project: Path, out: Path, *more: str, pose: str | None = "pose.pt"):
    result = invoke(fit_args(project, out, *more, pose=pose))
    assert result.exit_code == 0, result.output
    return result


def rows_of(project: Path) -> list[list[str]]:
    with (project / "people.csv").open(newline="") as file:
        return list(csv.reader(file))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.suffix in (".safetensors", ".json", ".png")
    }


def test_a_frozen_network_gets_its_auxiliary_network(project: Path, tmp_path: Path) -> None:
    result = run_fit(project, tmp_path / "aux.safetensors")
    endings = ("calibration.png", "json", "pt", "pt2", "report.json", "safetensors")
    names = [f"aux.{ending}" for ending in endings]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert name in result.stdout.replace("\n", "")
    assert "12 people in 12 images to train on, 4 people in 4 images to" in result.stderr
    assert "Settings are from" in result.stderr
    lines = [line.split() for line in result.stderr.splitlines()]
    assert [line[0] for line in lines if line and line[0] in ("1", "2")] == ["1", "2"]
    aux = nn.load(tmp_path / "aux.safetensors")
    assert isinstance(aux, nn.AuxiliaryNet)
    about = nn.load_metadata(tmp_path / "aux.safetensors")
    assert about["input"]["input_size"] == [64, 64]
    assert vl4pose.Skeleton.from_file(project / "arms.json").to_json() == about["skeleton"]


def test_the_report_holds_all_figures(project: Path, tmp_path: Path) -> None:
    result = run_fit(project, tmp_path / "aux.safetensors", "--seed", "3")
    report = json.loads((tmp_path / "aux.report.json").read_text())
    assert report["people"] == {"training": 12, "validation": 4, "failed": 0}
    assert [epoch["number"] for epoch in report["epochs"]] == [1, 2]
    best = report["epochs"][report["best_epoch"] - 1]
    figures = report["calibration"]["all"]
    assert figures["predicted"]["nll"] == pytest.approx(best["validation_nll"])
    assert figures["constant"]["nll"] == pytest.approx(best["baseline_nll"])
    assert figures["count"] == 8
    assert list(report["calibration"]["links"]) == list(SKELETON.link_names)
    assert list(figures["predicted"]["coverage"]) == ["0.5", "0.8", "0.95"]
    digest = hashlib.sha256((project / "pose.pt").read_bytes()).hexdigest()
    assert report["pose"] == {"file": "pose.pt", "sha256": digest}
    assert report["settings"]["seed"] == 3
    row = next(line for line in result.stdout.splitlines() if line.startswith("all "))
    shares = [f"{100 * share:.0f}%" for share in figures["predicted"]["coverage"].values()]
    nlls = [f"{figures[name]['nll']:.3f}" for name in ("predicted", "constant")]
    assert row.split() == ["all", "8", *nlls, f"{figures['predicted']['error']:.2f}", *shares]


@pytest.mark.parametrize("rate", ["1e-12", "0.02"])
def test_a_network_that_has_learnt_nothing_is_called_so(
    project: Path, tmp_path: Path, rate: str
) -> None:
    more = ["--learning-rate", rate, "--no-augment", "--epochs", "12", "--patience", "12"]
    result = run_fit(project, tmp_path / "aux.safetensors", *more)
    figures = json.loads((tmp_path / "aux.report.json").read_text())["calibration"]["all"]
    is_better = figures["predicted"]["nll"] < figures["constant"]["nll"]
    assert is_better == (rate == "0.02")
    assert ("Warning: the network expects" in result.stdout) != is_better


def test_the_programs_are_the_network(project: Path, tmp_path: Path) -> None:
    run_fit(project, tmp_path / "aux.safetensors")
    images = torch.rand(3, 3, 64, 64)
    aux = nn.load(tmp_path / "aux.safetensors")
    expected = Scorer(project / "pose.pt", aux, SKELETON, trust=True)(images)
    for name in ("aux.pt", "aux.pt2"):
        found = Scorer(project / "pose.pt", tmp_path / name, SKELETON, trust=True)(images)
        torch.testing.assert_close(found.score, expected.score, rtol=1e-4, atol=1e-4)


def test_both_networks_train_together(project: Path, tmp_path: Path) -> None:
    size = ["--input-size", "64x64", "--scale", "255", "--num-stacks", "1", "--channels", "4"]
    result = run_fit(project, tmp_path / "a.safetensors", "--train-pose", *size, pose=None)
    assert "heatmaps: training" in result.stderr
    pose, aux = (nn.load(tmp_path / f"{name}.safetensors") for name in ("a-pose", "a"))
    images = torch.rand(3, 3, 64, 64)
    expected = Scorer(pose, aux, SKELETON)(images)
    for ending in ("pt", "pt2"):
        files = [tmp_path / f"{name}.{ending}" for name in ("a-pose", "a")]
        found = Scorer(*files, SKELETON, trust=True)(images)
        torch.testing.assert_close(found.score, expected.score, rtol=1e-3, atol=1e-3)
    settings = json.loads((tmp_path / "a-pose.json").read_text())
    assert ImageTransform.from_json({k: v for k, v in settings.items() if k != "temperature"}) == (
        ImageTransform((64, 64), scale=255)
    )
    # And on from there, where the settings of the input come from the file beside the weights.
    more = ["--train-pose", "--pose", str(tmp_path / "a-pose.safetensors")]
    result = run_fit(project, tmp_path / "b.safetensors", *more, pose=None)
    assert "Settings are from" in result.stderr
    report = json.loads((tmp_path / "b.report.json").read_text())
    assert report["pose"]["file"] == "a-pose.safetensors"
    assert report["input"]["input_size"] == [64, 64]


def test_a_file_of_weights_needs_no_trust(project: Path, tmp_path: Path) -> None:
    more = ["--pose", str(project / "weights.safetensors"), "--input-size", "64x64"]
    run_fit(project, tmp_path / "aux.safetensors", *more, pose=None)


def test_another_file_validates(project: Path, tmp_path: Path) -> None:
    rows = rows_of(project)
    write_csv(tmp_path / "more.csv", [rows[0], *rows[1:4]])
    result = run_fit(
        project, tmp_path / "aux.safetensors", "--val", str(tmp_path / "more.csv"), "--limit", "10"
    )
    assert "10 people in 10 images to train on, 3 people in 3 images" in result.stderr
    assert "Warning: 3 images are in both files of annotations." in result.stderr


def test_peaks_are_fitted_for_vl4pose_score(project: Path, tmp_path: Path) -> None:
    rows = rows_of(project)
    write_csv(tmp_path / "more.csv", [rows[0], *3 * rows[1:]])
    aux, more = tmp_path / "aux.safetensors", ["--fit-peaks", "--val", str(tmp_path / "more.csv")]
    result = run_fit(project, aux, *more, "--num-peaks", "2")
    peaks = json.loads((tmp_path / "aux.report.json").read_text())["peaks"]
    assert peaks["num_joints"] >= 100
    said = (
        f"Peaks: temperature {peaks['temperature']:.3g}, and a variance of {peaks['variance']:.3g}"
    )
    assert said in result.stdout
    assert nn.load(aux).head.peak_variance.item() == pytest.approx(peaks["variance"])
    settings = json.loads((tmp_path / "aux.json").read_text())
    assert settings.pop("temperature") == peaks["temperature"]
    assert ImageTransform.from_json(settings) == ImageTransform((64, 64), scale=255)
    # The peaks' variance is not a part of what the report says of bones.
    plain = json.loads((tmp_path / "aux.report.json").read_text())
    assert plain["calibration"]["all"]["predicted"]["nll"] == pytest.approx(
        plain["epochs"][plain["best_epoch"] - 1]["validation_nll"]
    )
    table = tmp_path / "scores.parquet"
    images, networks = str(project / "images"), ["--pose", str(project / "pose.pt")]
    networks += ["--aux", str(tmp_path / "aux.pt"), "--skeleton", str(project / "arms.json")]
    scored = invoke(["score", images, *networks, "--out", str(table), "--trust"])
    assert scored.exit_code == 0, scored.output
    metadata = json.loads(pq.read_metadata(table).metadata[b"vl4pose"])
    assert metadata["settings"]["scoring"]["temperature"] == peaks["temperature"]
    assert metadata["models"]["settings"]["file"] == "aux.json"


def test_few_joints_say_nothing_of_peaks(project: Path, tmp_path: Path) -> None:
    result = run_fit(project, tmp_path / "aux.safetensors", "--fit-peaks")
    assert "Warning: fewer than 100 joints of the validation images lie near" in result.stdout
    assert json.loads((tmp_path / "aux.report.json").read_text())["peaks"] is None
    assert json.loads((tmp_path / "aux.json").read_text())["temperature"] == 1.0


def test_a_crop_without_boxes_is_a_letterbox(project: Path, tmp_path: Path) -> None:
    result = run_fit(project, tmp_path / "aux.safetensors", "--fit", "crop", "--epochs", "1")
    assert "Warning: the fit 'crop' needs boxes" in result.stderr
    assert nn.load_metadata(tmp_path / "aux.safetensors")["input"]["fit"] == "letterbox"


def test_the_same_command_gives_the_same_files(project: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run_fit(project, tmp_path / name / "aux.safetensors")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_failures_are_counted_and_named(project: Path, tmp_path: Path) -> None:
    rows = rows_of(project)
    nowhere = ["" for _ in rows[0][1:]]
    rows += [[name, *nowhere] for name in ("00.png", "01.png", "02.png", "03.png")]
    rows += [["gone.png", *rows[1][1:]], ["", *rows[1][1:]]]
    path = write_csv(tmp_path / "people.csv", rows)
    args = fit_args(project, tmp_path / "aux.safetensors")
    args[1] = str(path)
    result = invoke(args)
    assert result.exit_code == 0, result.output
    assert "6 of no use: see the end, and the report." in result.stderr
    assert "not trained or validated on (first 5 of 6)" in result.stdout
    assert "00.png  no link has both its joints annotated" in result.stdout
    report = json.loads((tmp_path / "aux.report.json").read_text())
    assert report["people"]["failed"] == 6
    assert {"image": "gone.png", "person_id": None, "reason": "no such file or directory"} in (
        report["failures"]
    )


def test_tensorboard_is_written(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run_fit(project, tmp_path / "aux.safetensors", "--tensorboard", str(tmp_path / "tb"))
    (file,) = (tmp_path / "tb").iterdir()
    assert b"nll/validation" in file.read_bytes()


def test_a_cache_serves_later_runs(project: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run_fit(project, tmp_path / name / "aux.safetensors", "--cache", str(tmp_path / "cache"))
    assert len(list((tmp_path / "cache").iterdir())) == 2 * 12 + 4
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


# --- kill -9, signals, processes --------------------------------------------------------------


def start(args: list[str], **options) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*MAIN, *args], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


LONG = ("--epochs", "40", "--patience", "40", "--checkpoint-seconds", "0")


def test_kill_9_and_the_same_command_again(project: Path, tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    args = fit_args(project, tmp_path / "killed" / "aux.safetensors", *LONG)
    process = start(args)
    assert process.stderr is not None
    for line in process.stderr:
        if line.split()[:1] == ["3"]:  # the third epoch is over
            break
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "aux.safetensors").exists()
    run_fit(project, tmp_path / "whole" / "aux.safetensors", *LONG)
    result = run_fit(project, tmp_path / "killed" / "aux.safetensors", *LONG)
    assert re.search(r"Resumed (after|in) epoch", result.stderr)
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    assert not (tmp_path / "killed" / "aux.fit").exists()


def test_a_signal_says_how_to_go_on(project: Path, tmp_path: Path) -> None:
    process = start(fit_args(project, tmp_path / "aux.safetensors", *LONG, "--epochs", "5000"))
    assert process.stderr is not None
    for line in process.stderr:
        if line.split()[:1] == ["1"]:
            break
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    last = rest.splitlines()[-1]
    assert last == "Terminated: the same command goes on from the last checkpoint."


def test_a_run_with_other_options_is_not_mixed_in(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "aux.safetensors"
    process = start(fit_args(project, out, *LONG, "--epochs", "5000"))
    try:
        deadline = time.monotonic() + 100
        while not list(tmp_path.glob("aux.fit/*.safetensors")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    result = invoke(fit_args(project, out))
    assert result.exit_code == 2
    assert "holds an unfinished run with another epochs: give --restart to begin anew" in (
        result.stderr.replace("\n", " ")
    )
    run_fit(project, out, "--restart")


def test_torchrun(project: Path, tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text("from vl4pose.cli import main\nmain()\n")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [sys.executable, *launch, *fit_args(project, tmp_path / "aux.safetensors")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("to train on") == 1  # of one process, not of both
    assert done.stdout.count("aux.calibration.png") == 1
    report = json.loads((tmp_path / "aux.report.json").read_text())
    assert report["people"] == {"training": 12, "validation": 4, "failed": 0}
    assert report["calibration"]["all"]["count"] == 8
    assert not (tmp_path / "aux.fit").exists()


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "aux.pt"], "--out must end in .safetensors, got 'aux.pt'"),
        (["--out", "nowhere/a.safetensors"], "--out must be in a folder that exists"),
        (["--pose", "{project}/poze.pt"], "--pose must exist, got .* (did you mean 'pose.pt'?)"),
        (["--skeleton", "lps"], "--skeleton must be one of .* (did you mean 'lsp'?), got 'lps'"),
        (["--skeleton", "lsp"], "got none for 'neck' in head, left_hand, right_hand"),
        (["--val", "1.5"], "--val must be between 0 and 1, or a file, got 1.5"),
        (["--val", "0"], "--val must be between 0 and 1, or a file, got 0"),
        (["--val", "{project}/poeple.csv"], "--val must exist, .* (did you mean 'people.csv'?)"),
        (["--val", "{project}/arms.json"], "must be a COCO keypoints file"),
        (["--val", "{project}/pose.pt"], "--val must be a .json, a .csv or a .mat, got"),
        (["--images", "nowhere"], "--images must be a folder, got 'nowhere'"),
        (["--images", "{project}"], "holds no image of .* say where they are with --images"),
        (["--mat-flag", "ocluded"], "--mat-flag must be one of occluded, annotated (did you mean"),
        (["--num-stacks", "1"], "--num-stacks goes with --train-pose without --pose, got 1"),
        (["--channels", "8"], "--channels goes with --train-pose without --pose, got 8"),
        (["--train-pose"], "--pose must be a .safetensors of vl4pose.nn.save to be trained on"),
        (["--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["--epochs", "many"], "--epochs must be a whole number, got 'many'"),
        (["--epoch", "3"], "No such option: --epoch (did you mean --epochs?)"),
        (["--learning-rate", "0"], "--learning-rate must be positive and finite, got 0.0"),
        (["--weight-decay", "-1"], "--weight-decay must be at least 0 and finite, got -1.0"),
        (["--input-size", "64"], None),
        (["--input-size", "6x"], "--input-size must be WIDTHxHEIGHT, got '6x'"),
        (["--fit", "corp"], "--fit must be one of letterbox, crop (did you mean 'crop'?)"),
        (["--device", "gpu"], "--device must be cpu, cuda or cuda:N, got 'gpu'"),
        (["--limit", "1"], "--val must be a file of annotations unless there are two images"),
    ],
)  # fmt: skip
def test_wrong_command_lines_are_one_sentence(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more, message
) -> None:
    monkeypatch.chdir(tmp_path)
    more = [text.format(project=project) for text in more]
    result = invoke(fit_args(project, tmp_path / "aux.safetensors", *more))
    if message is None:
        assert result.exit_code == 0, result.output
        return
    assert result.exit_code == 2, result.output
    pattern = re.escape(message).replace(r"\.\*", ".*")
    assert re.search(pattern, result.stderr.replace("\n", " ")), result.stderr
    assert not list(tmp_path.glob("aux*"))


def test_networks_that_do_not_go(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "aux.safetensors"

    def error(*more: str, pose: str | None = "pose.pt", code: int = 2) -> str:
        result = invoke(fit_args(project, out, *more, pose=pose))
        assert result.exit_code == code, result.output
        return result.stderr.replace("\n", " ")

    assert "--pose must be given, unless --train-pose" in error(pose=None)
    args = fit_args(project, out)
    args.remove("--trust")
    assert "--trust must be given" in invoke(args).stderr
    assert "--out must have another name than --pose" in error(
        "--out", str(project / "pose.safetensors")
    )
    (tmp_path / "other.pt").write_bytes(b"something")
    assert "--pose must be a TorchScript or torch.export file" in error(
        "--pose", str(tmp_path / "other.pt")
    )
    nn.save(nn.AuxiliaryNet(4, 2), tmp_path / "other.safetensors")
    assert "--pose must be a pose network, got .* with a AuxiliaryNet".replace(".*", "") in (
        re.sub(r"got .* with", "got  with", error("--pose", str(tmp_path / "other.safetensors")))
    )
    nn.save(nn.StackedHourglass(5, 1, 4), tmp_path / "five.safetensors")
    five = error("--pose", str(tmp_path / "five.safetensors"), "--input-size", "64x64")
    assert "--skeleton must have as many joints as the pose network (5), got 'arms' with 3" in five
    size = error(
        "--pose", str(project / "weights.safetensors"), "--input-size", "60x60", code=1
    )  # fmt: skip
    assert "the pose network fails on a batch of 1 x 3 x 60 x 60: images must be" in size


def test_data_that_does_not_do(project: Path, tmp_path: Path) -> None:
    rows = rows_of(project)
    args = fit_args(project, tmp_path / "aux.safetensors")

    def error(rows) -> str:
        args[1] = str(write_csv(tmp_path / "people.csv", rows))
        result = invoke(args)
        assert result.exit_code == 1, result.output
        return result.stderr.replace("\n", " ")

    one_armed = [rows[0], *([*row[:5], "", ""] for row in rows[1:])]
    assert (
        "the training set must hold at least one pose with both joints of each link, got none "
        "with those of head>right_hand"
    ) in error(one_armed)
    nobody = [rows[0], *([row[0], *[""] * 6] for row in rows[1:])]
    assert (
        f"nobody of {NUM_PEOPLE} can be trained or validated on; the first, 00.png: no link has "
        "both its joints annotated"
    ) in error(nobody)
