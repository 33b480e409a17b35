"""Poses into annotation tools and back: every format, hostile names, what is missing or moved."""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyarrow")
pytest.importorskip("typer")

from exchange_cases import NAN, ROWS, SKELETON, poses_of, row, table, write_parquet
from typer.testing import CliRunner

from vl4pose.annotations import read_coco, read_csv
from vl4pose.cli.app import app
from vl4pose.cli.import_annotations import detect_format
from vl4pose.exchange import coco, csv_file, cvat, deeplabcut, label_studio
from vl4pose.exchange.annotated_poses import (
    AnnotatedPoses,
    compare,
    in_skeleton,
    known_images,
    matched,
)
from vl4pose.exchange.image_files import upright_size
from vl4pose.exchange.image_names import ImageNames, below_root
from vl4pose.exchange.poses_to_annotate import (
    images_to_annotate,
    poses_to_annotate,
)
from vl4pose.skeleton import Skeleton

POSES = poses_to_annotate(table(ROWS))
IMAGES = images_to_annotate(POSES)
TOLERANCE = 1e-3  # pixels


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


def by_name(poses: AnnotatedPoses) -> dict[tuple[str, int], np.ndarray]:
    counts: dict[str, int] = {}
    out = {}
    for pose in poses.poses:
        place = counts.setdefault(pose.image, 0)
        counts[pose.image] += 1
        out[pose.image, place] = pose.keypoints
    return out


def assert_same(found, expected=None, tolerance: float = TOLERANCE) -> None:
    expected = poses_of() if expected is None else expected
    assert found.keys() == expected.keys()
    for name, keypoints in expected.items():
        np.testing.assert_allclose(found[name], keypoints, atol=tolerance, rtol=0)


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


# --- each format: written, and read back as what it was ---------------------------------------


def test_coco_is_what_score_and_fit_read(tmp_path) -> None:
    coco.write(IMAGES, SKELETON, tmp_path / "a.json")
    people, left_out = read_coco(tmp_path / "a.json", SKELETON)
    assert [str(item) for item in left_out] == ["1 image without a person"]
    assert [person.image for person in people] == [
        *("b.png", "day 1/cam/ä & 'q' <1>.jpg", "two, people.png", "two, people.png"),
        *("no pose.png", "=cmd|' /C calc'!A0.png"),
    ]
    assert people[0].box == (0, 0, 640, 480)  # all of the image, as it was scored
    assert people[1].box == (60.5, 30.0, 80.25, 120.0)
    assert people[4].visibility.tolist() == [0, 0, 0, 0]
    assert all(person.error is None for person in people)
    np.testing.assert_allclose(people[1].keypoints, poses_of()[people[1].image, 0], atol=1e-4)


def test_coco_says_the_skeleton_and_why(tmp_path) -> None:
    coco.write(IMAGES, SKELETON, tmp_path / "a.json", label="kite")
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["categories"] == [
        {
            "id": 1,
            "name": "kite",
            "supercategory": "",
            "keypoints": list(SKELETON.joints),
            "skeleton": [[1, 2], [1, 3], [1, 4]],
        }
    ]
    first, second = data["annotations"][:2]
    assert first["attributes"]["reasons"] == "number 1: head>left_hand 3.1 sd too long"
    assert second["attributes"]["person_id"] == "17"
    assert second["keypoints"][9:] == [0, 0, 0]
    assert second["num_keypoints"] == 3
    np.testing.assert_allclose(first["keypoint_confidence"], [0.9, 0.8, 0.7, 0.6], atol=1e-6)
    failed = next(image for image in data["images"] if image["file_name"] == "failed.png")
    assert failed["attributes"] == {
        **{"rank": 4, "priority": -2.0, "percentile": 6.0, "chosen_by": "ranking"},
        **{"reasons": "number 4: head>left_hand 3.1 sd too long"},
        "problem": "cannot identify image file",
    }


@pytest.mark.parametrize(
    ("given", "written"),
    [(["7", "3"], [7, 3]), (["7", "7"], [7, 8]), (["7", None], [7, 8]), (["a", "8"], [9, 8]),
     (["007", "8"], [9, 8]), (["-1", "8"], [9, 8]), (["0", "8"], [0, 8]), ([None, "a"], [1, 2])],
)  # fmt: skip
def test_coco_keeps_ids_that_are_numbers(tmp_path, given, written) -> None:
    rows = [
        row(f"{i}.png", [[1, 2]] * 4, person_id=name, box=[0, 0, 9, 9])
        for i, name in enumerate(given)
    ]
    images = images_to_annotate(poses_to_annotate(table(rows)))
    coco.write(images, SKELETON, tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    assert [item["id"] for item in data["annotations"]] == written
    assert [pose.person_id for pose in coco.read(tmp_path / "a.json", SKELETON).poses] == [
        name if name is not None else str(number)
        for name, number in zip(given, written, strict=True)
    ]


def test_csv_is_what_score_and_fit_read(tmp_path) -> None:
    csv_file.write(POSES, SKELETON, tmp_path / "a.csv")
    people, _ = read_csv(tmp_path / "a.csv", SKELETON)
    assert [person.image for person in people[:-1]] == [item["image"] for item in ROWS[:-1]]
    assert people[-1].image == "./=cmd|' /C calc'!A0.png"  # the same file, and no formula
    assert [person.person_id for person in people[:3]] == [None, "17", "3"]
    assert people[1].box == (60.5, 30.0, 80.25, 120.0)
    assert people[0].box == (0, 0, 640, 480)
    np.testing.assert_allclose(people[1].keypoints, poses_of()[people[1].image, 0], atol=1e-4)


def test_cells_of_a_csv_are_no_formulas(tmp_path) -> None:
    rows = [
        row(name, [[-1, 2], [3, 4], [5, 6], [7, 8]], person_id=person, reasons=reasons)
        for name, person, reasons in [
            ("=1+1.png", "@SUM(A1)", "+2"),
            ("-dash.png", "-5", "=HYPERLINK(1)"),
            ("@a.png", "=x", "fine"),
            ("\ta.png", "\r1", "\t=1"),
        ]
    ]
    csv_file.write(poses_to_annotate(table(rows)), SKELETON, tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_bytes().decode()
    for line in list(csv.DictReader(io.StringIO(text, newline="")))[:4]:
        for cell in line.values():
            assert not cell.startswith(("=", "+", "@", "\t", "\r"))
            assert not cell.startswith("-") or float(cell) < 0
    back = csv_file.read(tmp_path / "a.csv", SKELETON)
    assert [pose.image for pose in back.poses] == ["=1+1.png", "-dash.png", "@a.png", "\ta.png"]
    assert [pose.person_id for pose in back.poses] == ["@SUM(A1)", "-5", "=x", "1"]


def test_cvat_holds_every_joint_of_the_labels_in_their_order(tmp_path) -> None:
    cvat.write(IMAGES, SKELETON, tmp_path / "out", label="kite")
    (label,) = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert (label["name"], label["type"]) == ("kite", "skeleton")
    assert [part["name"] for part in label["sublabels"]] == list(SKELETON.joints)
    svg = ElementTree.fromstring(f"<svg>{label['svg']}</svg>")
    nodes = {node.get("data-node-id"): node.get("data-label-name") for node in svg.iter("circle")}
    assert list(nodes.values()) == list(SKELETON.joints)
    places = {(node.get("cx"), node.get("cy")) for node in svg.iter("circle")}
    assert len(places) == SKELETON.num_joints
    edges = [
        (nodes[edge.get("data-node-from")], nodes[edge.get("data-node-to")])
        for edge in svg.iter("line")
    ]
    assert edges == [(SKELETON.joints[a], SKELETON.joints[b]) for a, b in SKELETON.links]

    root = ElementTree.parse(tmp_path / "out" / "annotations.xml").getroot()
    declared = {part.findtext("name"): part for part in root.iterfind("meta/task/labels/label")}
    assert list(declared) == ["kite", *SKELETON.joints]
    assert {part.findtext("parent") for part in list(declared.values())[1:]} == {"kite"}
    assert declared["kite"].findtext("svg") == label["svg"]
    names = {attribute["name"] for attribute in label["attributes"]}
    images = root.findall("image")
    assert [image.get("name") for image in images] == [image.name for image in IMAGES]
    # Where CVAT does not find a name it takes the number, in its own order: that of the names.
    by_id = sorted(images, key=lambda image: int(image.get("id")))
    assert [image.get("name") for image in by_id] == sorted(image.name for image in IMAGES)
    for shape in root.iter("skeleton"):
        assert shape.get("label") == "kite"
        assert [point.get("label") for point in shape.iterfind("points")] == list(SKELETON.joints)
        assert {part.get("name") for part in shape.iterfind("attribute")} <= names
    second = images[1].find("skeleton")
    assert [point.get("outside") for point in second.iterfind("points")] == ["0", "0", "0", "1"]
    assert second.find("points").get("points") == "101.0000,50.7500"  # half a pixel from ours
    values = {part.get("name"): part.text for part in second.iterfind("attribute")}
    assert values["person_id"] == "17"
    assert values["box"] == "60.5 30 80.25 120"
    assert images[3].find("skeleton") is None


def test_cvat_refuses_names_that_it_cannot_hold(tmp_path) -> None:
    bent = Skeleton("bent", ["a", 'b"c'], [(0, 1)])
    with pytest.raises(ValueError, match="names of joints must be without any of"):
        cvat.write([], bent, tmp_path / "out")
    twins = images_to_annotate(poses_to_annotate(table([row("a.png", None), row("a.jpg", None)])))
    with pytest.raises(ValueError, match="must differ in more than their endings for CVAT, got"):
        cvat.write(twins, SKELETON, tmp_path / "out")
    bell = images_to_annotate(poses_to_annotate(table([row("a\x07.png", None)])))
    with pytest.raises(ValueError, match="must be without control characters for CVAT, got"):
        cvat.write(bell, SKELETON, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_label_studio_has_a_keypoint_for_each_joint_that_is_somewhere(tmp_path) -> None:
    label_studio.write(IMAGES, SKELETON, tmp_path / "out", url_prefix="s3://bucket/a b/")
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert [task["data"]["image_name"] for task in tasks] == [image.name for image in IMAGES]
    prefix = "s3://bucket/a b/"
    for task in tasks:
        address = task["data"]["image"]
        assert address.isascii()
        assert unquote(address.removeprefix(prefix)) == task["data"]["image_name"]
    regions = tasks[1]["predictions"][0]["result"]
    joints = [r["value"]["keypointlabels"] for r in regions if r["type"] == "keypointlabels"]
    assert joints == [["head"], ["left_hand"], ["right_hand"]]  # the tail's is nowhere, not at 0, 0
    assert {r.get("parentID") for r in regions[1:]} == {regions[0]["id"]}
    head = regions[1]["value"]
    assert (head["x"] * 640 / 100, head["y"] * 480 / 100) == pytest.approx((101.0, 50.75))
    assert tasks[3]["predictions"] == []
    assert tasks[3]["data"]["problem"] == "failed.png: cannot identify image file"
    interface = ElementTree.fromstring((tmp_path / "out" / "interface.xml").read_text())
    labels = interface.findall("KeyPointLabels/Label")
    assert [label.get("value") for label in labels] == list(SKELETON.joints)
    assert [label.get("model_index") for label in labels] == ["0", "1", "2", "3"]


def test_deeplabcut_has_a_folder_per_folder(tmp_path) -> None:
    deeplabcut.write(IMAGES, SKELETON, tmp_path / "out", scorer="ann")
    folders = tmp_path / "out" / "labeled-data"
    assert {folder.name for folder in folders.iterdir()} == {"day 1-cam", "images", "=cmd|' "}
    with (folders / "day 1-cam" / "machinelabels-iter0.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert [line[0] for line in lines[:4]] == ["scorer", "individuals", "bodyparts", "coords"]
    assert lines[0][3] == "ann"
    assert lines[4][:3] == ["labeled-data", "day 1-cam", "ä & 'q' <1>.jpg"]
    assert lines[4][3:6] == ["100.500000", "50.250000", "0.900000"]
    assert lines[4][12:15] == ["", "", ""]
    places = json.loads((tmp_path / "out" / "images.json").read_text())
    assert places["labeled-data/images/failed.png"]["people"][0]["problem"]
    assert {entry["image"] for entry in places.values()} == {image.name for image in IMAGES}


def test_one_person_per_image_is_a_project_of_one_animal(tmp_path) -> None:
    images = images_to_annotate(poses_to_annotate(table(ROWS[:2])))
    deeplabcut.write(images, SKELETON, tmp_path)
    file = tmp_path / "labeled-data" / "images" / "machinelabels-iter0.csv"
    assert [line.split(",")[0] for line in file.read_text().splitlines()[:3]] == [
        *("scorer", "bodyparts", "coords"),
    ]


def test_images_that_would_share_a_place_are_refused(tmp_path) -> None:
    rows = [row("a-b/c.png", None), row("a/b/c.png", None)]
    images = images_to_annotate(poses_to_annotate(table(rows)))
    with pytest.raises(ValueError, match="names of images must differ for DeepLabCut, got two"):
        deeplabcut.write(images, SKELETON, tmp_path)


# --- what tools send back ---------------------------------------------------------------------


def annotated_coco(folder: Path) -> Path:
    """Write what a tool that edits COCO saves: the same file."""
    coco.write(IMAGES, SKELETON, folder / "a.json")
    return folder / "a.json"


def annotated_csv(folder: Path) -> Path:
    csv_file.write(POSES, SKELETON, folder / "a.csv")
    return folder / "a.csv"


def annotated_cvat(folder: Path) -> Path:
    """Write the XML as CVAT exports it: hundredths of pixels, and elements in its own order."""
    cvat.write(IMAGES, SKELETON, folder / "cvat")
    tree = ElementTree.parse(folder / "cvat" / "annotations.xml")
    for shape in tree.iter("skeleton"):
        shape.set("source", "manual")
        points = shape.findall("points")
        for point in points:
            x, y = map(float, point.get("points").split(","))
            point.set("points", f"{x:.2f},{y:.2f}")
            shape.remove(point)
        for point in reversed(points):
            shape.insert(0, point)
        shape[:] = [*shape.findall("points")[::-1], *shape.findall("attribute")]
    tree.write(folder / "export.xml", encoding="utf-8", xml_declaration=True)
    with ZipFile(folder / "export.zip", "w") as archive:
        archive.write(folder / "export.xml", "annotations.xml")
    return folder / "export.zip"


def annotated_label_studio(folder: Path) -> Path:
    """Write Label Studio's JSON: regions of the prediction under new ids, as annotations."""
    label_studio.write(IMAGES, SKELETON, folder / "ls", url_prefix="http://x/")
    tasks = json.loads((folder / "ls" / "tasks.json").read_text())
    for number, task in enumerate(tasks, start=1):
        results = [r for part in task.pop("predictions") for r in part["result"]]
        for result in results:
            result["id"] = f"new-{result['id']}"
            result["origin"] = "prediction"
            if "parentID" in result:
                result["parentID"] = f"new-{result['parentID']}"
        results = results[::-1]
        annotation = {"id": 100 + number, "was_cancelled": False, "result": results}
        task.update(id=number, annotations=[annotation] if results else [], predictions=[number])
    (folder / "project-1.json").write_text(json.dumps(tasks))
    return folder / "project-1.json"


def annotated_deeplabcut(folder: Path) -> Path:
    """Write what the napari plugin saves: labels without a likelihood, of images with one."""
    deeplabcut.write(IMAGES, SKELETON, folder / "dlc")
    for file in (folder / "dlc").rglob("machinelabels-iter0.csv"):
        with file.open(newline="") as stream:
            lines = list(csv.reader(stream))
        keep = [i for i, coord in enumerate(lines[3]) if coord != "likelihood"]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([[line[i] for i in keep] for line in lines])
        file.with_name("CollectedData_ann.csv").write_text(text.getvalue())
    return folder / "dlc"


RETURNED = {
    "coco": annotated_coco,
    "csv": annotated_csv,
    "cvat": annotated_cvat,
    "label-studio": annotated_label_studio,
    "deeplabcut": annotated_deeplabcut,
}


def read_back(name: str, path: Path) -> AnnotatedPoses:
    readers = {
        "cvat": cvat.read,
        "label-studio": label_studio.read,
        "deeplabcut": deeplabcut.read,
        "coco": lambda file: coco.read(file, SKELETON),
        "csv": lambda file: csv_file.read(file, SKELETON),
    }
    return in_skeleton(readers[name](path), SKELETON)


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


def test_cvat_flags_become_visibilities(tmp_path) -> None:
    xml = """<annotations><meta><job><labels>
      <label><name>person</name></label>
      <label><name>tail tip</name><parent>person</parent></label>
      <label><name>HEAD</name><parent>person</parent></label>
      <label><name>left_hand</name><parent>person</parent></label>
      <label><name>right_hand</name><parent>person</parent></label></labels></job></meta>
      <image id="0" name="a.png" width="640" height="480">
        <box label="car" xtl="1" ytl="2" xbr="3" ybr="4"/>
        <skeleton label="person">
          <points label="tail tip" outside="1" occluded="0" points="0.00,0.00"/>
          <points label="HEAD" outside="0" occluded="1" points="10.50,20.50"/>
          <points label="left_hand" outside="0" occluded="0" points="30.50,40.50"/>
        </skeleton>
        <skeleton label="person">
          <points label="HEAD" outside="1" occluded="0" points="1,1"/>
        </skeleton>
      </image></annotations>"""
    (tmp_path / "a.xml").write_text(xml)
    back = in_skeleton(cvat.read(tmp_path / "a.xml"), SKELETON)
    (pose,) = back.poses
    assert pose.visibility.tolist() == [1, 2, 0, 0]
    assert pose.keypoints[:2].tolist() == [[10, 20], [30, 40]]
    assert np.isnan(pose.keypoints[2:]).all()
    assert back.left_out == {
        "shapes of kind 'box'": 1,
        "skeletons without a joint in the image": 1,
    }


def test_label_studio_hidden_related_and_loose_keypoints(tmp_path) -> None:
    def region(kind, name, value, **more):
        sizes = {"original_width": 100, "original_height": 200}
        return {"id": name, "type": kind, "value": value, **sizes, **more}

    def point(name, joint, x, y, **more):
        value = {"x": x, "y": y, "keypointlabels": [joint]}
        return region("keypointlabels", name, value, **more)

    box = {"x": 10, "y": 10, "width": 50, "height": 25, "rectanglelabels": ["person"]}
    result = [
        region("rectanglelabels", "r", box),
        point("1", "head", 20, 30, parentID="r"),
        point("2", "left_hand", 30, 30),
        {"type": "relation", "from_id": "2", "to_id": "r", "direction": "right"},
        point("3", "head", 80, 40),
        {"id": "2", "type": "choices", "value": {"choices": ["hidden"]}},
        region("brushlabels", "4", {"brushlabels": ["sky"]}),
    ]
    old = [point("1", "head", 1, 1)]
    task = {
        "id": 1,
        "data": {"image": "/data/upload/3/deadbeef-a%20b.png"},
        "annotations": [
            {"result": result, "updated_at": "2024-02-01T00:00:00Z"},
            {"result": old, "updated_at": "2024-01-01T00:00:00Z"},
            {"result": old, "updated_at": "2024-03-01T00:00:00Z", "was_cancelled": True},
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps([task]))
    back = in_skeleton(label_studio.read(tmp_path / "a.json"), SKELETON)
    first, second = back.poses
    assert first.image == "data/upload/3/deadbeef-a b.png"
    assert first.box == (10, 20, 50, 50)
    assert first.visibility.tolist() == [2, 1, 0, 0]
    assert first.keypoints[:2].tolist() == [[19.5, 59.5], [29.5, 59.5]]
    assert second.box is None
    assert second.keypoints[0].tolist() == [79.5, 79.5]
    assert back.left_out == {"annotations that a later one of the same task replaces": 1}

    result.append(point("9", "head", 5, 5))
    (tmp_path / "a.json").write_text(json.dumps([task]))
    with pytest.raises(ValueError, match="must have each joint once, got 'head' twice in"):
        label_studio.read(tmp_path / "a.json")


def test_label_studio_people_go_by_the_ids_that_were_written(tmp_path) -> None:
    label_studio.write(IMAGES, SKELETON, tmp_path, url_prefix="http://x/")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    for task in tasks:
        task["annotations"] = task.pop("predictions")
        for annotation in task["annotations"]:
            for result in annotation["result"]:
                result.pop("parentID", None)
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    assert_same(by_name(in_skeleton(label_studio.read(tmp_path / "a.json"), SKELETON)))


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


def test_a_box_that_was_computed_from_the_joints_is_none(tmp_path) -> None:
    category = {"id": 1, "name": "person", "keypoints": list(SKELETON.joints)}
    flat = [10, 20, 2, 30, 40, 1, 50, 60, 2, 0, 0, 0]
    people = [
        {"id": i, "image_id": 1, "category_id": 1, "keypoints": flat, "bbox": box}
        for i, box in enumerate([[10, 20, 40, 40], [9, 20, 41, 40]])
    ]
    images = [{"id": 1, "file_name": "a.png", "width": 640, "height": 480}]
    data = {"images": images, "annotations": people, "categories": [category]}
    (tmp_path / "a.json").write_text(json.dumps(data))
    first, second = in_skeleton(coco.read(tmp_path / "a.json", SKELETON), SKELETON).poses
    assert first.box is None
    assert second.box == (9, 20, 41, 40)
    assert first.visibility.tolist() == [2, 1, 2, 0]


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


def test_predictions_of_deeplabcut_are_nobodys_labels(tmp_path) -> None:
    deeplabcut.write(IMAGES, SKELETON, tmp_path)
    with pytest.raises(ValueError, match="must hold labels of DeepLabCut"):
        deeplabcut.read(tmp_path)
    file = next(tmp_path.rglob("machinelabels-iter0.csv"))
    with pytest.raises(ValueError, match="must be what somebody labelled"):
        deeplabcut.read(file)
    file.rename(file.with_name("CollectedData_x.csv"))
    with pytest.raises(ValueError, match="got predictions with a likelihood"):
        deeplabcut.read(tmp_path)


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


# --- the commands -----------------------------------------------------------------------------


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


def test_a_second_export_to_deeplabcut_keeps_the_first(tmp_path) -> None:
    for rows in (ROWS[:1], ROWS[1:2]):
        deeplabcut.write(images_to_annotate(poses_to_annotate(table(rows))), SKELETON, tmp_path)
    entries = json.loads((tmp_path / "images.json").read_text())
    assert [entry["image"] for entry in entries.values()] == [ROWS[0]["image"], ROWS[1]["image"]]


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


def test_sizes_are_those_of_upright_images(tmp_path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    exif = image_module.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image_module.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    image_module.new("RGB", (40, 30)).save(tmp_path / "b.jpg")
    assert upright_size(tmp_path / "a.jpg") == (30, 40)
    assert upright_size(tmp_path / "b.jpg") == (40, 30)


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
