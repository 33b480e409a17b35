"""Label Studio: what is exported, and read back."""

from __future__ import annotations

import json
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

pytest.importorskip("pyarrow")

from exchange_cases import SKELETON
from returned_annotations import IMAGES, assert_same, by_name

from vl4pose.exchange import label_studio
from vl4pose.exchange.annotated_poses import in_skeleton


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
