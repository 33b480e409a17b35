"""CVAT: "CVAT for images 1.1" XML with skeletons, and the labels that a task needs for it.

Of CVAT's ways in, this is the one that keeps a pose as it is. It finds labels, joints and images by
their names, and takes per-joint flags and attributes. Its COCO Keypoints importer goes by indices
of categories, rejects files of its own whose ids or order of names differ from the task's
(cvat-ai/cvat#5285, #7501), and drops boxes.

Notes
-----
- Points count from the image's corner, so that half a pixel is added to ours and taken off theirs.
- An image whose name CVAT does not find is taken to be the one with its number, silently. The
  numbers written are those of the names in CVAT's default order, lexicographic, so that even then
  a pose lands on its image if the same images were uploaded.
- CVAT drops attributes that the label does not declare, hence ``labels.json``: to be pasted under
  Raw where the task is made. A person's box is an attribute, for skeletons have none of their own.
- CVAT writes hundredths of a pixel.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr
from zipfile import ZipFile, is_zipfile

import numpy as np

from vl4pose._atomic_file import write_atomically
from vl4pose.exchange.annotated_poses import HIDDEN, VISIBLE, AnnotatedPose, AnnotatedPoses
from vl4pose.exchange.poses_to_annotate import ImageToAnnotate, PoseToAnnotate
from vl4pose.skeleton import Skeleton

__all__ = ["ANNOTATIONS", "LABELS", "read", "write"]

ANNOTATIONS, LABELS = "annotations.xml", "labels.json"

_HALF = 0.5
_ATTRIBUTES = (
    *("rank", "reasons", "score", "status", "percentile", "chosen_by"),
    *("priority", "log_prob", "multi_peak_entropy", "person_id", "box"),
)
_MARKUP = "<>&\"'"
_COLOURS = {"left": "#3d7eff", "right": "#ff8c1a"}
_OTHER_COLOUR = "#2bb34b"


def write(
    images: Sequence[ImageToAnnotate], skeleton: Skeleton, out: Path, *, label: str = "person"
) -> None:
    """Write annotations.xml and labels.json into the folder ``out``.

    Raises
    ------
    ValueError
        If CVAT cannot hold a name: of joints, with markup, for CVAT replaces names by ids in the
        text of an SVG; of images, with characters that XML does not have, or differing from
        another in their endings alone, which CVAT does not look at.
    """
    for joint in (label, *skeleton.joints):
        if set(_MARKUP) & set(joint) or not joint.isprintable():
            raise ValueError(
                f"names of joints must be without any of {_MARKUP} for CVAT, got {joint!r}"
            )
    stems: dict[str, str] = {}
    for image in images:
        if not all(_is_xml(char) for char in image.name):
            raise ValueError(
                f"names of images must be without control characters for CVAT, got {image.name!r}"
            )
        stem = os.path.splitext(image.name)[0]  # noqa: PTH122 as CVAT does
        if stem in stems:
            raise ValueError(
                "names of images must differ in more than their endings for CVAT, got "
                f"{stems[stem]!r} and {image.name!r}"
            )
        stems[stem] = image.name
    labels = _labels(skeleton, label)
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    _add_meta(root, labels, len(images))
    numbers = {name: i for i, name in enumerate(sorted(image.name for image in images))}
    for image in images:
        attributes = {"id": str(numbers[image.name]), "name": image.name}
        if image.size is not None:
            attributes |= {"width": str(image.size[0]), "height": str(image.size[1])}
        element = ElementTree.SubElement(root, "image", attributes)
        for pose in image.poses:
            if pose.keypoints is not None:
                _add_pose(element, pose, skeleton, label)
    ElementTree.indent(root)
    xml = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    out.mkdir(exist_ok=True)
    write_atomically(out / LABELS, (json.dumps(labels, indent=2) + "\n").encode())
    write_atomically(out / ANNOTATIONS, xml + b"\n")


def read(path: Path) -> AnnotatedPoses:
    """Read the skeletons of an XML that CVAT exported as "CVAT for images 1.1", or of its zip.

    A joint is annotated unless it is outside; occluded, it is hidden. Other shapes and tracks are
    left out, counted.

    Raises
    ------
    ValueError
        If the file is not of that form.
    """
    try:
        if is_zipfile(path):
            with ZipFile(path) as archive:
                text = archive.read(ANNOTATIONS)
        else:
            text = path.read_bytes()
        root = _parse(text)
    except (KeyError, ElementTree.ParseError) as error:
        raise ValueError(f"must be an XML of CVAT, or a zip with one: {error}") from error
    if root.tag != "annotations":
        raise ValueError(f"must be an XML of CVAT with 'annotations', got {root.tag!r}")
    parts = root.iterfind(".//labels/label")
    declared = [part.findtext("name", "") for part in parts if part.findtext("parent")]
    out = AnnotatedPoses([], tuple(dict.fromkeys(declared)) or None)
    if root.find("track") is not None:
        raise ValueError("must be exported as 'CVAT for images 1.1', got tracks, as of a video")
    for image in root.iterfind("image"):
        name = image.get("name", "")
        size = _size(image)
        out.images[name] = size
        for shape in image:
            if shape.tag != "skeleton":
                out.left_out[f"shapes of kind {shape.tag!r}"] += 1
                continue
            pose = _pose(shape, name, size)
            if pose.joints:
                out.poses.append(pose)
            else:
                out.left_out["skeletons without a joint in the image"] += 1
    return out


def _is_xml(char: str) -> bool:
    code = ord(char)
    return code >= 0x20 and not 0xD800 <= code <= 0xDFFF and code not in (0x7F, 0xFFFE, 0xFFFF)


def _labels(skeleton: Skeleton, label: str) -> list[dict[str, Any]]:
    """Return the labels as CVAT's Raw editor and its API take them."""
    return [
        {
            "name": label,
            "color": _OTHER_COLOUR,
            "type": "skeleton",
            "attributes": [_attribute(name) for name in _ATTRIBUTES],
            "sublabels": [
                {
                    "name": joint,
                    "color": _colour(joint),
                    "type": "points",
                    "attributes": [_attribute("confidence")],
                }
                for joint in skeleton.joints
            ],
            "svg": _svg(skeleton),
        }
    ]


def _attribute(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "mutable": False,
        "input_type": "text",
        "default_value": "",
        "values": [""],
    }


def _colour(joint: str) -> str:
    return next((c for side, c in _COLOURS.items() if joint.startswith(side)), _OTHER_COLOUR)


def _svg(skeleton: Skeleton) -> str:
    """Return the template that CVAT draws new skeletons from, 100 x 100: joints and links."""
    x, y = _template(skeleton)
    lines = [
        f'<line x1="{x[a]:.2f}" y1="{y[a]:.2f}" x2="{x[b]:.2f}" y2="{y[b]:.2f}" stroke="black" '
        f'stroke-width="0.5" data-type="edge" data-node-from="{a + 1}" data-node-to="{b + 1}">'
        "</line>"
        for a, b in skeleton.links
    ]
    circles = [
        f'<circle r="1.5" stroke="black" fill="{_colour(joint)}" cx="{x[j]:.2f}" cy="{y[j]:.2f}" '
        f'stroke-width="0.1" data-type="element node" data-element-id="{j + 1}" '
        f'data-node-id="{j + 1}" data-label-name={quoteattr(joint)}></circle>'
        for j, joint in enumerate(skeleton.joints)
    ]
    return "".join(lines + circles)


def _template(skeleton: Skeleton) -> tuple[list[float], list[float]]:
    """Return x and y of a drawn tree: the root on top, the right side on the left as in a photo."""
    children: dict[int, list[int]] = {joint: [] for joint in range(skeleton.num_joints)}
    for parent, child in skeleton.links:
        children[parent].append(child)
    right = {second for _, second in skeleton.pairs}
    left = {first for first, _ in skeleton.pairs}
    column = [0.0] * skeleton.num_joints
    depth = [0] * skeleton.num_joints
    num_leaves = 0

    def place(joint: int, level: int) -> None:
        nonlocal num_leaves
        depth[joint] = level
        for child in sorted(children[joint], key=lambda c: (c in left) - (c in right)):
            place(child, level + 1)
        below = [column[child] for child in children[joint]]
        column[joint] = sum(below) / len(below) if below else float(num_leaves)
        num_leaves += not below

    place(skeleton.root, 0)
    width, height = max(num_leaves - 1, 1), max(*depth, 1)
    return [10 + 80 * c / width for c in column], [10 + 80 * d / height for d in depth]


def _add_meta(root: ElementTree.Element, labels: list[dict[str, Any]], size: int) -> None:
    """Add what CVAT writes at export, and other readers ask for: the labels, parents first."""
    meta = ElementTree.SubElement(root, "meta")
    task = ElementTree.SubElement(meta, "task")
    for name, text in (
        ("id", "0"),
        ("name", "vl4pose"),
        ("size", str(size)),
        ("mode", "annotation"),
    ):
        ElementTree.SubElement(task, name).text = text
    parts = ElementTree.SubElement(task, "labels")
    for label in labels:
        _add_label(parts, label, None)
        for sublabel in label["sublabels"]:
            _add_label(parts, sublabel, label["name"])


def _add_label(parts: ElementTree.Element, label: dict[str, Any], parent: str | None) -> None:
    part = ElementTree.SubElement(parts, "label")
    for key in ("name", "color", "type"):
        ElementTree.SubElement(part, key).text = label[key]
    attributes = ElementTree.SubElement(part, "attributes")
    for attribute in label["attributes"]:
        entry = ElementTree.SubElement(attributes, "attribute")
        ElementTree.SubElement(entry, "name").text = attribute["name"]
        ElementTree.SubElement(entry, "mutable").text = "False"
        ElementTree.SubElement(entry, "input_type").text = attribute["input_type"]
        ElementTree.SubElement(entry, "default_value").text = ""
        ElementTree.SubElement(entry, "values").text = ""
    if parent is not None:
        ElementTree.SubElement(part, "parent").text = parent
    if "svg" in label:
        ElementTree.SubElement(part, "svg").text = label["svg"]


def _add_pose(
    image: ElementTree.Element, pose: PoseToAnnotate, skeleton: Skeleton, label: str
) -> None:
    assert pose.keypoints is not None
    shape = ElementTree.SubElement(
        image, "skeleton", {"label": label, "source": "auto", "z_order": "0"}
    )
    # Every joint, in the order of the labels: CVAT wants the whole template.
    placed = pose.keypoints[np.isfinite(pose.keypoints).all(axis=1)]
    middle = placed.mean(axis=0)
    for j, joint in enumerate(skeleton.joints):
        absent = bool(np.isnan(pose.keypoints[j]).any())
        x, y = middle if absent else pose.keypoints[j]
        element = ElementTree.SubElement(
            shape,
            "points",
            {
                "label": joint,
                "source": "auto",
                "outside": str(int(absent)),
                "occluded": "0",
                "points": f"{x + _HALF:.4f},{y + _HALF:.4f}",
            },
        )
        if pose.confidence is not None and np.isfinite(pose.confidence[j]):
            _add_value(element, "confidence", f"{pose.confidence[j]:.4g}")
    values: dict[str, Any] = dict(pose.attributes)
    if pose.person_id is not None:
        values["person_id"] = pose.person_id
    if pose.box is not None:
        values["box"] = " ".join(f"{number:.10g}" for number in pose.box)
    for name in _ATTRIBUTES:
        if name in values:
            value = values[name]
            _add_value(shape, name, f"{value:.6g}" if isinstance(value, float) else str(value))


def _add_value(parent: ElementTree.Element, name: str, value: str) -> None:
    element = ElementTree.SubElement(parent, "attribute", {"name": name})
    element.text = "".join(char if _is_xml(char) else "?" for char in value)


def _parse(text: bytes) -> ElementTree.Element:
    # Entities can be nested into gigabytes; no export of CVAT has any.
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise ValueError("must be an XML without a document type, got one")
    return ElementTree.fromstring(text)


def _size(image: ElementTree.Element) -> tuple[int, int] | None:
    width, height = image.get("width", ""), image.get("height", "")
    return (int(width), int(height)) if width.isdigit() and height.isdigit() else None


def _pose(shape: ElementTree.Element, image: str, size: tuple[int, int] | None) -> AnnotatedPose:
    joints = {}
    for element in shape.iterfind("points"):
        if element.get("outside") == "1":
            continue
        try:
            x, y = map(float, element.get("points", "").split(","))
        except ValueError:
            raise ValueError(
                f"points must be x,y, got {element.get('points')!r} in {image!r}"
            ) from None
        flag = HIDDEN if element.get("occluded") == "1" else VISIBLE
        joints[element.get("label", "")] = (x - _HALF, y - _HALF, flag)
    values = {part.get("name"): part.text for part in shape.iterfind("attribute") if part.text}
    box = values.get("box")
    try:
        numbers = None if box is None else tuple(map(float, box.split()))
    except ValueError:
        numbers = ()
    if numbers is not None and len(numbers) != 4:
        raise ValueError(f"box must be x y width height, got {box!r} in {image!r}")
    return AnnotatedPose(image, joints, values.get("person_id"), numbers, size)
