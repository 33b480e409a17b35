"""COCO keypoints: what is exported, and read back."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from exchange_cases import SKELETON, poses_of, row, table
from returned_annotations import IMAGES

from vl4pose.annotations import read_coco
from vl4pose.exchange import coco
from vl4pose.exchange.annotated_poses import in_skeleton
from vl4pose.exchange.poses_to_annotate import images_to_annotate, poses_to_annotate


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
