"""CVAT for images 1.1: what is exported, and read back."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from exchange_cases import SKELETON, row, table
from returned_annotations import IMAGES

from vl4pose.exchange import cvat
from vl4pose.exchange.annotated_poses import in_skeleton
from vl4pose.exchange.poses_to_annotate import images_to_annotate, poses_to_annotate
from vl4pose.skeleton import Skeleton


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
