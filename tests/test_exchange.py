"""Poses into annotation tools and back, whatever the format: order, names, damaged files."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyarrow")
pytest.importorskip("typer")

from exchange_cases import NAN, ROWS, SKELETON, poses_of, row, table
from returned_annotations import IMAGES, POSES, RETURNED, TOLERANCE, assert_same, by_name, read_back

from vl4pose.cli.import_annotations import detect_format
from vl4pose.exchange import coco, csv_file, cvat, deeplabcut, label_studio
from vl4pose.exchange.annotated_poses import compare, in_skeleton, known_images, matched
from vl4pose.exchange.image_files import upright_size
from vl4pose.exchange.image_names import ImageNames, below_root
from vl4pose.exchange.poses_to_annotate import images_to_annotate, poses_to_annotate
from vl4pose.skeleton import Skeleton

# --- what is exported -------------------------------------------------------------------------


def test_images_are_in_order_of_their_most_urgent_person() -> None:
    assert [image.name for image in IMAGES] == [
        *("b.png", "day 1/cam/ä & 'q' <1>.jpg", "two, people.png", "failed.png", "no pose.png"),
        "=cmd|' /C calc'!A0.png",
    ]
    assert [pose.person_id for pose in IMAGES[2].poses] == ["3", "4"]
    assert IMAGES[3].poses[0].problem == "cannot identify image file"
    assert IMAGES[4].poses[0].problem == "nonfinite_heatmap"
    assert POSES[0].attributes["rank"] == 1
    assert POSES[0].attributes["reasons"] == "number 1: head>left_hand 3.1 sd too long"
    assert "score" not in POSES[3].attributes


def test_a_plain_table_of_scores_has_no_ranks() -> None:
    poses = poses_to_annotate(table(ROWS, selected=False))
    assert [pose.image for pose in poses] == [item["image"] for item in ROWS]
    assert poses[0].attributes == {"score": -12.5, "status": 0}


def test_poses_of_another_skeleton_are_refused() -> None:
    rows = [row("a.png", [[1, 2]])]
    with pytest.raises(ValueError, match="must have the 4 joints of the table's skeleton, got 1"):
        poses_to_annotate(table(rows))


def test_joints_that_are_null_or_not_finite_are_none() -> None:
    rows = [
        row("a.png", [[1, 2], None, [NAN, 3], [float("inf"), 3]]),
        row("b.png", [None, None, None, [NAN, NAN]]),
    ]
    first, second = poses_to_annotate(table(rows))
    assert np.isnan(first.keypoints[1:]).all()
    assert first.keypoints[0].tolist() == [1, 2]
    assert second.keypoints is None
    assert second.problem == "no joint has finite coordinates"


# --- what tools send back ---------------------------------------------------------------------


@pytest.mark.parametrize("name", RETURNED)
def test_poses_come_back_as_they_went(name, tmp_path) -> None:
    back = read_back(name, RETURNED[name](tmp_path))
    back = known_images(back, [image.name for image in IMAGES])
    back, rows = matched(back, POSES)
    found = {}
    for pose, asked in zip(back.poses, rows, strict=True):
        place = [p for p in POSES if p.image == pose.image].index(asked)
        found[pose.image, place] = pose.keypoints
        assert pose.person_id == asked.person_id or asked.person_id is None
        assert pose.box == pytest.approx(asked.frame)
        assert pose.size == asked.size
        visible = ~np.isnan(pose.keypoints).any(axis=1)
        assert pose.visibility.tolist() == np.where(visible, 2, 0).tolist()
    assert_same(found, tolerance=0.0101 if name == "cvat" else TOLERANCE)
    changes = compare(back.poses, rows, POSES)
    assert (changes.asked, changes.annotated, changes.unchanged, changes.added) == (7, 5, 5, 0)
    assert [pose.image for pose in changes.missing] == ["failed.png", "no pose.png"]
    assert changes.moved_joints == 0
    assert changes.joints == 19


@pytest.mark.parametrize("name", RETURNED)
def test_formats_are_told_apart(name, tmp_path) -> None:
    path = RETURNED[name](tmp_path)
    assert detect_format(path) == name
    if name == "deeplabcut":
        assert detect_format(next(path.rglob("CollectedData_ann.csv"))) == name


def test_joints_go_by_short_names_and_wrong_ones_are_asked_about(tmp_path) -> None:
    arm = Skeleton("arm", ["left_shoulder", "left_elbow"], [(0, 1)])
    lines = ["scorer,a,a,a,a", "bodyparts,lelb,lelb,LSHO,LSHO", "coords,x,y,x,y", "v/a.png,1,2,3,4"]
    (tmp_path / "CollectedData_a.csv").write_text("\n".join(lines))
    (pose,) = in_skeleton(deeplabcut.read(tmp_path), arm).poses
    assert pose.keypoints.tolist() == [[3, 4], [1, 2]]
    with pytest.raises(ValueError, match=r"got none for 'head'.* in lelb, LSHO"):
        in_skeleton(deeplabcut.read(tmp_path), SKELETON)
    value = {"x": 1, "y": 1, "keypointlabels": ["lft_elbow"]}
    result = {"id": "1", "type": "keypointlabels", "value": value}
    result |= {"original_width": 9, "original_height": 9}
    task = {"data": {"image_name": "a.png"}, "annotations": [{"result": [result]}]}
    (tmp_path / "a.json").write_text(json.dumps([task]))
    with pytest.raises(ValueError, match=r"\(did you mean 'left_elbow'\?\), got 'lft_elbow'"):
        in_skeleton(label_studio.read(tmp_path / "a.json"), arm)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cvat", "<annotations><", "must be an XML of CVAT"),
        ("cvat", "<html/>", "with 'annotations', got 'html'"),
        ("cvat", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", "without a document type"),
        ("cvat", "<annotations><track/></annotations>", "got tracks, as of a video"),
        ("label-studio", "{", "must be JSON"),
        ("label-studio", "[1]", r"must be a list of tasks .* got 1 as \[0\]"),
        ("label-studio", '[{"data": {}, "predictions": []}]', "got data, predictions in"),
        ("deeplabcut", "a,b\n1,2\n", "must begin with lines of scorer, bodyparts and coords"),
        ("coco", "[]", "must be a COCO keypoints file"),
        ("coco", "<a/>", "must be JSON"),
        ("csv", "image,a\n", "must have a column"),
    ],
)
def test_files_of_another_form_are_refused(name, text, message, tmp_path) -> None:
    ending = {"cvat": ".xml", "csv": ".csv", "deeplabcut": ".csv"}.get(name, ".json")
    path = tmp_path / f"a{ending}"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_back(name, path)


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.sampled_from(["", "x", "keypointlabels", "relation", "choices"]),
    st.just([]),
    st.just({}),
    st.just([1]),
    st.just({"x": [1]}),
)


def changed(data, draw, value):
    """Return JSON with one of its parts another value, or gone."""
    if isinstance(data, dict | list) and data and draw(st.integers(0, 4)):
        keys = list(data) if isinstance(data, dict) else range(len(data))
        key = draw(st.sampled_from(list(keys)))
        out = dict(data) if isinstance(data, dict) else list(data)
        if isinstance(data, dict) and draw(st.integers(0, 9)) == 0:
            del out[key]
        else:
            out[key] = changed(data[key], draw, value)
        return out
    return value


@given(st.data())
def test_damaged_exports_are_errors_and_no_crashes(data) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        name = data.draw(st.sampled_from(["coco", "label-studio"]))
        path = RETURNED[name](folder)
        content = changed(json.loads(path.read_text()), data.draw, data.draw(JSON))
        path.write_text(json.dumps(content))
        with suppress(ValueError):
            for pose in known_images(read_back(name, path), ()).poses:
                assert np.isfinite(pose.keypoints[pose.visibility > 0]).all()
                assert np.isnan(pose.keypoints[pose.visibility == 0]).all()


# --- names ------------------------------------------------------------------------------------

PARTS = st.text(
    st.one_of(st.sampled_from(" ,;'\"<>&=+-@%#?äé漢🙂"), st.characters(categories=["L", "N"])),
    min_size=1,
    max_size=8,
).filter(lambda part: part == part.strip() and not part.startswith("."))
NAMES = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".png")


@given(
    st.lists(NAMES, min_size=1, max_size=4, unique_by=lambda name: name.replace("/", "-")),
    st.sampled_from(list(RETURNED)),
)
def test_any_name_comes_back(names, form) -> None:
    rows = [row(name, [[i, 2], [3, 4], [5, 6], [7, 8]]) for i, name in enumerate(names)]
    poses = poses_to_annotate(table(rows))
    images = images_to_annotate(poses)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if form == "coco":
            coco.write(images, SKELETON, folder / "a.json")
            path = folder / "a.json"
        elif form == "csv":
            csv_file.write(poses, SKELETON, folder / "a.csv")
            path = folder / "a.csv"
        elif form == "cvat":
            cvat.write(images, SKELETON, folder)
            path = folder / "annotations.xml"
        elif form == "label-studio":
            label_studio.write(images, SKELETON, folder, url_prefix="/data/local-files/?d=a/")
            tasks = json.loads((folder / "tasks.json").read_text())
            for task in tasks:
                task["annotations"] = task.pop("predictions")
            path = folder / "a.json"
            path.write_text(json.dumps(tasks))
        else:
            deeplabcut.write(images, SKELETON, folder)
            for file in folder.rglob("*.csv"):
                text = file.read_text().replace("likelihood", "p")
                file.with_name("CollectedData_a.csv").write_text(text)
                file.unlink()
            path = folder
        back = known_images(read_back(form, path), names)
    assert_same(by_name(back), poses_of(rows))


@pytest.mark.parametrize(
    "name", ["../a.png", "a/../../b.png", "/etc/passwd", "C:\\a.png", "..\\a.png", "", ".", "a\0b"]
)
def test_names_that_leave_the_root_are_refused(name) -> None:
    with pytest.raises(ValueError, match="image must be below the root, got"):
        below_root(name)


def test_names_below_the_root() -> None:
    assert below_root("./a//b/../c.png") == "a/c.png"
    assert below_root("/photos/a/b.png", "/photos") == "a/b.png"
    with pytest.raises(ValueError, match=r"image must be below '/photos', got '/other/b\.png'"):
        below_root("/other/b.png", "/photos")


def test_images_are_found_with_more_or_fewer_folders() -> None:
    names = ImageNames(["day 1/a.png", "day 2/a.png", "day 2/b.png", "c.png"])
    assert names.find("day 1/a.png") == "day 1/a.png"
    assert names.find("b.png") == "day 2/b.png"
    assert names.find("/data/upload/day 2/a.png") == "day 2/a.png"
    assert names.find("D:\\pics\\day 2\\b.png") == "day 2/b.png"
    with pytest.raises(ValueError, match=r"must name one image, got 'a\.png', which fits"):
        names.find("a.png")
    with pytest.raises(ValueError, match=r"known, got 'day 3/b.png' \(did you mean 'b.png'\?\)"):
        names.find("day 3/b.png")
    with pytest.raises(ValueError, match=r"one of the 4 known, got 'd.pgn'"):
        names.find("d.pgn")
    # Below the root its place decides, and no folder that has the root's own name.
    names = ImageNames(["a.png", "photos/a.png"], "/data/photos")
    assert names.find("/data/photos/a.png") == "a.png"
    assert names.find("/data/photos/photos/a.png") == "photos/a.png"


def test_sizes_are_those_of_upright_images(tmp_path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    exif = image_module.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image_module.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    image_module.new("RGB", (40, 30)).save(tmp_path / "b.jpg")
    assert upright_size(tmp_path / "a.jpg") == (30, 40)
    assert upright_size(tmp_path / "b.jpg") == (40, 30)
