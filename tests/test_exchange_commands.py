"""``vl4pose export`` and ``vl4pose import``: what they write and say, and mistakes."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("typer")

from exchange_cases import ROWS, SKELETON, poses_of, table, write_parquet
from returned_annotations import (
    IMAGES,
    RETURNED,
    TOLERANCE,
    annotated_coco,
    annotated_cvat,
    annotated_deeplabcut,
    assert_same,
)
from typer.testing import CliRunner

from vl4pose.annotations import read_coco
from vl4pose.cli.app import app
from vl4pose.exchange import coco, label_studio
from vl4pose.exchange.image_names import ImageNames
from vl4pose.exchange.poses_to_annotate import images_to_annotate, poses_to_annotate


def invoke(*args: object):
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"})
    return runner.invoke(app, [str(arg) for arg in args])


def run(*args: object) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.output


def fails(code: int, *args: object) -> str:
    result = invoke(*args)
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    return result.output


@pytest.fixture
def selection(tmp_path) -> Path:
    """A selection whose images are there."""
    image_module = pytest.importorskip("PIL.Image")
    root = tmp_path / "photos"
    for item in ROWS:
        (root / item["image"]).parent.mkdir(parents=True, exist_ok=True)
        image_module.new("RGB", (640, 480)).save(root / item["image"])
    write_parquet(table(ROWS, str(root)), tmp_path / "selection.parquet")
    return tmp_path / "selection.parquet"


def test_export_says_who_has_no_pose_and_what_to_do(selection, tmp_path) -> None:
    said = run("export", selection, "--format", "coco", "--out", tmp_path / "a.json")
    assert "Wrote 7 people in 6 images" in said
    assert "5 with a pose, 2 without" in said
    assert "without a pose: failed.png (cannot identify image file)" in said
    assert "without a pose: no pose.png #9 (nonfinite_heatmap)" in said
    said = run("export", selection, "--format", "cvat", "--out", tmp_path / "c", "--copy-images")
    assert "labels.json" in said
    assert f"and {tmp_path}/c/images.zip, then Upload" in said
    with ZipFile(tmp_path / "c" / "images.zip") as archive:
        assert archive.namelist() == [image.name for image in IMAGES]
    run("export", selection, "--format", "deeplabcut", "--out", tmp_path / "d", "--copy-images")
    copies = (tmp_path / "d" / "labeled-data").rglob("*.[pj][np]g")
    assert len(list(copies)) == len(IMAGES)
    run("export", selection, "--format", "csv", "--out", tmp_path / "a.csv", "--limit", "2")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "label_studio", "--out", "x"], "(did you mean 'label-studio'?)"),
        (["--format", "coco", "--out", "x.jsn"], "--out must end in .json, got 'x.jsn'"),
        (["--format", "cvat", "--out", "x.xml"], "--out must be a folder for --format cvat"),
        (["--format", "cvat", "--out", "no/x"], "--out must be in a folder that exists"),
        (["--format", "csv", "--out", "x.csv", "--scorer", "a"], "--scorer goes with --format"),
        (["--format", "coco", "--out", "x.json", "--copy-images"], "--copy-images goes with"),
        (["--format", "cvat", "--out", "x", "--images", "no"], "--images must be a folder, got"),
        (["--format", "csv", "--out", "x.csv", "--images", "."], "--images goes with --format"),
        (["--format", "coco", "--out", "x.json", "--limit", "0"], "--limit must be at least 1"),
        (["--format", "coco", "--out", "x.json", "--label", " "], "--label must have a name"),
    ],
)
def test_mistakes_on_the_command_line_of_export(
    options, said, selection, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert said in fails(2, "export", selection, *options)
    assert sorted(tmp_path.iterdir()) == before


def test_a_table_that_is_not_there_is_asked_about(selection, tmp_path) -> None:
    wrong = selection.with_name("selektion.parquet")
    said = fails(2, "export", wrong, "--format", "coco", "--out", tmp_path / "a.json")
    assert "SCORES must exist" in said
    assert "(did you mean 'selection.parquet'?)" in said


def test_addresses_of_label_studio(selection, tmp_path) -> None:
    assert label_studio.address_of("s3://bucket/a/") == "s3://bucket/a/"
    assert label_studio.address_of("gs://bucket") == "gs://bucket/"
    said = run("export", selection, "--format", "label-studio", "--out", tmp_path / "ls")
    assert f"LOCAL_FILES_DOCUMENT_ROOT={tmp_path} and" in said
    first = json.loads((tmp_path / "ls" / "tasks.json").read_text())[0]
    assert first["data"]["image"] == "/data/local-files/?d=photos/b.png"
    del first["data"]["image_name"]  # as of tasks that were made another way
    first.update(annotations=first.pop("predictions"))
    (tmp_path / "a.json").write_text(json.dumps([first]))
    (pose,) = label_studio.read(tmp_path / "a.json").poses
    assert ImageNames(["b.png", "a/c.png"]).find(pose.image) == "b.png"


def test_images_that_were_moved_are_where_the_option_says(selection, tmp_path, monkeypatch) -> None:
    (tmp_path / "photos").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    args = ("export", selection, "--format", "label-studio", "--out", tmp_path / "ls")
    said = run(*args, "--images", ".")
    assert f"LOCAL_FILES_DOCUMENT_ROOT={tmp_path} and a local storage of {tmp_path}/moved" in said
    first = json.loads((tmp_path / "ls" / "tasks.json").read_text())[0]
    assert first["data"]["image"] == "/data/local-files/?d=moved/b.png"
    copying = ("export", selection, "--format", "cvat", "--out", tmp_path / "c", "--copy-images")
    said = fails(2, *copying)
    assert f"--images must be the folder of the images to copy, got '{tmp_path}/photos'" in said
    run(*copying, "--images", ".")
    with ZipFile(tmp_path / "c" / "images.zip") as archive:
        assert archive.namelist() == [image.name for image in IMAGES]


def test_a_package_that_is_missing_is_named(selection, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    said = fails(1, "export", selection, "--format", "sleap", "--out", tmp_path / "a.slp")
    assert "sleap-io is not installed: pip install 'vl4pose[sleap]'" in said
    assert not (tmp_path / "a.slp").exists()
    SKELETON.to_file(tmp_path / "kite.json")
    (tmp_path / "a.slp").touch()
    said = fails(1, "import", tmp_path / "a.slp", "--skeleton", tmp_path / "kite.json",
                 "--out", tmp_path / "t.json")  # fmt: skip
    assert "sleap-io is not installed" in said


def test_the_zip_of_coco_that_cvat_exports(selection, tmp_path) -> None:
    with ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.write(annotated_coco(tmp_path), "annotations/person_keypoints_default.json")
    out = tmp_path / "training.json"
    said = run("import", tmp_path / "export.zip", "--selection", selection, "--out", out)
    assert "Read 5 annotated people of coco" in said
    with ZipFile(tmp_path / "export.zip", "a") as archive:
        archive.writestr("annotations/b.json", "{}")
    said = fails(2, "import", tmp_path / "export.zip", "--selection", selection, "--out", out)
    assert "must hold one .json, got 2" in said


def test_labels_in_a_project_of_their_own_are_known(selection, tmp_path) -> None:
    path = annotated_deeplabcut(tmp_path)
    (path / "labeled-data").rename(tmp_path / "project-ann")  # without images.json
    (tmp_path / "project").mkdir()
    (tmp_path / "project-ann").rename(tmp_path / "project" / "labeled-data")
    out = tmp_path / "training.json"
    said = run("import", tmp_path / "project", "--selection", selection, "--out", out)
    assert "Of 7 asked for, 5 are annotated" in said
    assert {person.image for person in read_coco(out, SKELETON)[0]} == {
        name for name, _ in poses_of()
    }


def test_images_that_were_not_asked_for_are_known_where_they_are(selection, tmp_path) -> None:
    data = json.loads(annotated_coco(tmp_path).read_text())
    (tmp_path / "photos" / "new").mkdir()
    (tmp_path / "photos" / "new" / "e.png").touch()
    data["images"][0]["file_name"] = str(tmp_path / "photos" / "new" / "e.png")
    (tmp_path / "b.json").write_text(json.dumps(data))
    out = tmp_path / "training.json"
    said = run("import", tmp_path / "b.json", "--selection", selection, "--out", out,
               "--images", tmp_path / "photos")  # fmt: skip
    assert "1 were added" in said
    assert "missing: b.png (not in the file)" in said
    assert "new/e.png" in {person.image for person in read_coco(out, SKELETON)[0]}


@pytest.mark.parametrize("name", RETURNED)
def test_the_cycle_closes(name, selection, tmp_path) -> None:
    path = RETURNED[name](tmp_path)
    out = tmp_path / "training.json"
    said = run("import", path, "--selection", selection, "--out", out)
    assert "Of 7 asked for, 5 are annotated and 2 missing; 0 were added" in said
    assert "missing: failed.png" in said
    assert "5 poses are as proposed" in said
    people, left_out = read_coco(out, SKELETON)
    assert not left_out
    assert all(person.error is None for person in people)
    found = {(p.image, int(p.person_id == "4")): p.keypoints for p in people}
    assert_same(found, tolerance=0.0101 if name == "cvat" else TOLERANCE)
    boxes = {(p.image, int(p.person_id == "4")): p.box for p in people}
    assert boxes["b.png", 0] == (0, 0, 640, 480)
    assert boxes["two, people.png", 1] == pytest.approx((200, 0, 40, 40))


def test_what_a_person_moved_is_said(selection, tmp_path) -> None:
    path = annotated_cvat(tmp_path)
    tree = ElementTree.parse(tmp_path / "export.xml")
    image = next(part for part in tree.iter("image") if part.get("name") == "b.png")
    head = next(p for p in image.iter("points") if p.get("label") == "head")
    head.set("points", "14.75,24.00")  # by 4 and 3 pixels
    tail = next(p for p in image.iter("points") if p.get("label") == "tail tip")
    tail.set("outside", "1")
    hand = next(p for p in image.iter("points") if p.get("label") == "left_hand")
    hand.set("occluded", "1")
    tree.write(path.with_suffix(".xml"))
    out = tmp_path / "training.json"
    said = run("import", path.with_suffix(".xml"), "--selection", selection, "--out", out)
    assert "Moved: 1 of 18 joints, by 0.3 pixels in the mean of all; 4 poses are" in said
    assert "1.7 pixels: b.png" in said
    data = json.loads(out.read_text())
    person = data["annotations"][0]
    assert person["keypoints"][:3] == [14.25, 23.5, 2]
    assert person["keypoints"][5] == 1
    assert person["keypoints"][9:] == [0, 0, 0]


def test_earlier_training_data_is_joined(selection, tmp_path) -> None:
    first = tmp_path / "first.json"
    run("import", annotated_coco(tmp_path), "--selection", selection, "--out", first)
    header = ["image", *(f"{joint}_{axis}" for joint in SKELETON.joints for axis in "xy")]
    lines = [header, ["b.png", *"12345678"], ["no pose.png", *"12345678"], ["failed.png", *"1234"]]
    with (tmp_path / "earlier.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    out = tmp_path / "second.json"
    said = run("import", first, "--selection", selection, "--out", out,
               "--merge", tmp_path / "earlier.csv")  # fmt: skip
    assert "Merged 1 person of" in said
    assert "but not 1 in images annotated anew" in said
    assert "left out: 1 people with an error (failed.png: line 4 must have 9 fields" in said
    people, _ = read_coco(out, SKELETON)
    assert [person.image for person in people][:2] == ["no pose.png", "b.png"]
    assert len(people) == 6
    said = run("import", first, "--selection", selection, "--out", out,
               "--merge", tmp_path / "earlier.csv", "--merge-limit", "1")  # fmt: skip
    assert "Merged 0 people of" in said


def test_people_without_boxes_are_cropped_apart(selection, tmp_path) -> None:
    header = ["image", *(f"{joint}_{axis}" for joint in SKELETON.joints for axis in "xy")]
    lines = [header, ["b.png", 10, 10, 20, 30, 15, 20, 12, 14], ["b.png", *"23456789"],
             ["no pose.png", *"12345678"]]  # fmt: skip
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    write_parquet(table(ROWS), tmp_path / "kite.parquet")
    SKELETON.to_file(tmp_path / "kite.json")
    out = tmp_path / "training.json"
    run("import", tmp_path / "a.csv", "--skeleton", tmp_path / "kite.json", "--out", out,
        "--images", tmp_path / "photos")  # fmt: skip
    people, _ = read_coco(out, SKELETON)
    assert [person.box for person in people] == [(7, 7, 16, 26), (0.4, 1.4, 9.2, 9.2),
                                                 (0, 0, 640, 480)]  # fmt: skip


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd"])
def test_an_image_outside_the_root_is_refused(name, tmp_path) -> None:
    SKELETON.to_file(tmp_path / "kite.json")
    data = json.loads(annotated_coco(tmp_path).read_text())
    data["images"][0]["file_name"] = name
    (tmp_path / "b.json").write_text(json.dumps(data))
    said = fails(2, "import", tmp_path / "b.json", "--skeleton", tmp_path / "kite.json",
                 "--out", tmp_path / "t.json")  # fmt: skip
    assert "image must be below the root, got" in said
    assert not (tmp_path / "t.json").exists()


def test_an_image_that_was_renamed_is_asked_about(selection, tmp_path) -> None:
    data = json.loads(annotated_coco(tmp_path).read_text())
    data["images"][2]["file_name"] = "two people.png"
    (tmp_path / "b.json").write_text(json.dumps(data))
    said = fails(2, "import", tmp_path / "b.json", "--selection", selection,
                 "--out", tmp_path / "t.json")  # fmt: skip
    assert "(did you mean 'two, people.png'?)" in said


def test_mistakes_on_the_command_line_of_import(selection, tmp_path) -> None:
    path = annotated_coco(tmp_path)
    out = tmp_path / "t.json"
    assert "got neither" in fails(2, "import", path, "--out", out)
    said = fails(2, "import", tmp_path / "a.jsn", "--selection", selection, "--out", out)
    assert "(did you mean 'a.json'?)" in said
    said = fails(2, "import", path, "--skeleton", "lps", "--out", out)
    assert "(did you mean 'lsp'?)" in said
    said = fails(2, "import", path, "--selection", selection, "--skeleton", "lsp", "--out", out)
    assert "--skeleton must have the joints of --selection" in said
    said = fails(2, "import", path, "--selection", selection, "--out", path)
    assert "--out must be another file than ANNOTATED" in said
    said = fails(2, "import", path, "--selection", selection, "--out", out, "--format", "coca")
    assert "(did you mean 'coco'?)" in said
    said = fails(2, "import", path, "--selection", selection, "--out", out, "--merge-limit", "3")
    assert "--merge-limit goes with --merge" in said
    said = fails(2, "import", tmp_path / "photos", "--selection", selection, "--out", out)
    assert "must hold labels of DeepLabCut" in said
    said = fails(2, "import", selection, "--selection", selection, "--out", out)
    assert "--format must be given for a file that ends in none of" in said
    write_parquet(table([ROWS[3]]), tmp_path / "failed.parquet")
    images = images_to_annotate(poses_to_annotate(table([ROWS[3]])))
    coco.write(images, SKELETON, tmp_path / "empty.json")
    said = fails(1, "import", tmp_path / "empty.json", "--selection",
                 tmp_path / "failed.parquet", "--out", out)  # fmt: skip
    assert "must have at least one annotated person, got none" in said
    assert not out.exists()
