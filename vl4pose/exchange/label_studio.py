"""Label Studio: tasks with predictions, and the labelling interface that shows them.

Each joint is a keypoint with the joint's name as its label, below the rectangle of its person.
Label Studio's own COCO importer is of no use for this: it gives every joint the label of its
category, and puts hidden ones at (0, 0). Here a joint without a place has no keypoint.

Notes
-----
- Coordinates are percents of the image, counted from its corner: half a pixel is added to ours and
  taken off theirs.
- ``model_index`` gives the joints' order to Label Studio's COCO and YOLO exporters, of which the
  first rounds to whole pixels: export as JSON.
- ``data`` comes back as it was sent, so that ``image_name`` says which image a task is of, however
  its address reads.
- A prediction has no score, which Label Studio wants between 0 and 1: that of the pose is in
  ``data``, and the order of priority is that of the tasks.
- A hidden joint is one whose region somebody marked so ("hidden", under the image).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree

from vl4pose._atomic_file import write_atomically
from vl4pose.exchange.annotated_poses import HIDDEN, VISIBLE, AnnotatedPose, AnnotatedPoses
from vl4pose.exchange.poses_to_annotate import ImageToAnnotate, PoseToAnnotate
from vl4pose.skeleton import Skeleton

__all__ = ["INTERFACE", "TASKS", "address_of", "read", "write"]

TASKS, INTERFACE = "tasks.json", "interface.xml"

_LOCAL_FILES = "/data/local-files/?d="
_HALF = 0.5
_WRITTEN = re.compile(r"(person-\d+)-joint-\d+")  # the regions' ids, which the tool keeps
_NUMBERS = {"keypointlabels": ("x", "y"), "rectanglelabels": ("x", "y", "width", "height")}
_JOINTS, _PEOPLE, _IMAGE, _VISIBILITY, _HIDDEN = "joints", "people", "image", "visibility", "hidden"
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#9a6324")


def address_of(root: str) -> str:
    """Return what goes in front of the names of images of a root, a folder or a URL.

    A folder is served as a local storage of Label Studio, whose document root is the folder above:
    Label Studio wants storages below it.
    """
    if "://" in root:
        return root.rstrip("/") + "/"
    return f"{_LOCAL_FILES}{quote(PurePath(root).name)}/"


def write(
    images: Sequence[ImageToAnnotate],
    skeleton: Skeleton,
    out: Path,
    *,
    label: str = "person",
    url_prefix: str,
    version: str = "vl4pose",
) -> None:
    """Write tasks.json and interface.xml into the folder ``out``.

    Parameters
    ----------
    images : sequence of ImageToAnnotate
    skeleton : Skeleton
    out : Path
    label : str
        Of the people's rectangles.
    url_prefix : str
        What goes in front of the names of images, which are percent-encoded: see `address_of`.
    version : str
        ``model_version`` of the predictions.
    """
    tasks = [_task(image, skeleton, label, url_prefix, version) for image in images]
    out.mkdir(exist_ok=True)
    text = json.dumps(tasks, indent=1, allow_nan=False) + "\n"
    write_atomically(out / INTERFACE, _interface(skeleton, label))
    write_atomically(out / TASKS, text.encode())


def read(path: Path) -> AnnotatedPoses:
    """Read the annotations of Label Studio's JSON export; not JSON-MIN, which has no regions.

    Of several annotations of a task, the latest that was not cancelled counts. Tasks without one
    are images without people, for predictions that nobody submitted are nobody's annotation.
    Keypoints are one person's if they are below the same rectangle, or related to it, or were
    written for it; those that are neither are together one more person.

    Raises
    ------
    ValueError
        If the file is not of that form, or a person has a joint twice.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"must be JSON: {error}") from error
    rule = "must be a list of tasks with 'data' and 'annotations', as Label Studio exports as JSON"
    if not isinstance(tasks, list):
        raise ValueError(f"{rule}, got {json.dumps(tasks)[:80]}")
    out = AnnotatedPoses([])
    for number, task in enumerate(tasks):
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise ValueError(f"{rule}, got {json.dumps(task)[:80]} as [{number}]")
        if "annotations" not in task:
            raise ValueError(f"{rule}, got {', '.join(task)} in [{number}]")
        name = _image_name(task["data"], number)
        out.images[name] = None
        if not _is_regular(task["annotations"]):
            raise ValueError(
                f"{rule}, got annotations of another form in [{number}]: "
                f"{json.dumps(task['annotations'])[:80]}"
            )
        done = [part for part in task["annotations"] or [] if not part.get("was_cancelled")]
        if not done:
            out.left_out["tasks that nobody annotated"] += 1
            continue
        latest = max(done, key=lambda part: str(part.get("updated_at") or ""))
        if len(done) > 1:
            out.left_out["annotations that a later one of the same task replaces"] += len(done) - 1
        people, size = _people(latest.get("result") or [], name)
        out.images[name] = size
        out.poses.extend(people)
    return out


def _is_regular(annotations: object) -> bool:
    """Return whether annotations are as `_people` reads them: lists, objects and numbers."""
    if not isinstance(annotations, list | None):
        return False
    for annotation in annotations or []:
        if not isinstance(annotation, dict) or not isinstance(
            annotation.get("result"), list | None
        ):
            return False
        for part in annotation.get("result") or []:
            if not isinstance(part, dict):
                return False
            if part.get("type") not in _NUMBERS:
                continue
            value = part.get("value")
            if not isinstance(part.get("id"), str) or not isinstance(value, dict):
                return False
            if not isinstance(part.get("parentID"), str | None):
                return False
            if not all(_is_number(value.get(key)) for key in _NUMBERS[part["type"]]):
                return False
            names = value.get("keypointlabels")
            if not isinstance(names, list | None) or not all(
                isinstance(n, str) for n in names or []
            ):
                return False
            if not isinstance(part.get("meta"), dict | None):
                return False
    return True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _interface(skeleton: Skeleton, label: str) -> bytes:
    view = ElementTree.Element("View")
    ElementTree.SubElement(
        view, "Image", {"name": _IMAGE, "value": "$image", "zoom": "true", "zoomControl": "true"}
    )
    ElementTree.SubElement(view, "Header", {"value": "Why: $reasons"})
    people = ElementTree.SubElement(
        view, "RectangleLabels", {"name": _PEOPLE, "toName": _IMAGE, "opacity": "0.1"}
    )
    ElementTree.SubElement(people, "Label", {"value": label, "background": "#888888"})
    joints = ElementTree.SubElement(view, "KeyPointLabels", {"name": _JOINTS, "toName": _IMAGE})
    for index, joint in enumerate(skeleton.joints):
        values = {
            "value": joint,
            "background": _COLOURS[index % len(_COLOURS)],
            "model_index": str(index),
        }
        ElementTree.SubElement(joints, "Label", values)
    visibility = ElementTree.SubElement(
        view,
        "Choices",
        {
            "name": _VISIBILITY,
            "toName": _IMAGE,
            "perRegion": "true",
            "choice": "multiple",
            "whenTagName": _JOINTS,
        },
    )
    ElementTree.SubElement(visibility, "Choice", {"value": _HIDDEN})
    ElementTree.indent(view)
    text: bytes = ElementTree.tostring(view, encoding="utf-8")
    return text + b"\n"


def _task(
    image: ImageToAnnotate, skeleton: Skeleton, label: str, url_prefix: str, version: str
) -> dict[str, Any]:
    first = image.poses[0]
    data: dict[str, Any] = {
        "image": url_prefix + quote(image.name),
        "image_name": image.name,
        "reasons": first.attributes.get("reasons", ""),
        **{k: v for k, v in first.attributes.items() if k != "reasons"},
    }
    problems = [f"{pose}: {pose.problem}" for pose in image.poses if pose.problem is not None]
    if problems:
        data["problem"] = "; ".join(problems)
    if len(image.poses) > 1:
        data["people"] = [{"id": pose.person_id, **pose.attributes} for pose in image.poses]
    results = []
    if image.size is not None:
        for number, pose in enumerate(image.poses, start=1):
            results += _results(pose, number, image.size, skeleton, label)
    if not results:
        return {"data": data, "predictions": []}
    return {"data": data, "predictions": [{"model_version": version, "result": results}]}


def _results(
    pose: PoseToAnnotate, number: int, size: tuple[int, int], skeleton: Skeleton, label: str
) -> list[dict[str, Any]]:
    width, height = size

    def region(name: str, tag: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": name,
            "type": kind,
            "from_name": tag,
            "to_name": _IMAGE,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": value,
        }

    results = []
    parent = None
    if pose.box is not None:
        parent = f"person-{number}"
        x, y, box_width, box_height = pose.box
        value = {
            "x": 100 * x / width,
            "y": 100 * y / height,
            "width": 100 * box_width / width,
            "height": 100 * box_height / height,
            "rotation": 0,
            "rectanglelabels": [label],
        }
        rectangle = region(parent, _PEOPLE, "rectanglelabels", value)
        note = [] if pose.person_id is None else [f"id {pose.person_id}"]
        note += [f"{k} {pose.attributes[k]:.6g}" for k in ("rank", "score") if k in pose.attributes]
        note += [str(pose.attributes["reasons"])] if "reasons" in pose.attributes else []
        if note:
            rectangle["meta"] = {"text": note}
        results.append(rectangle)
    if pose.keypoints is None:
        return results
    for joint, (x, y) in enumerate(pose.keypoints):
        if math.isnan(x) or math.isnan(y):
            continue
        value = {
            "x": 100 * (x + _HALF) / width,
            "y": 100 * (y + _HALF) / height,
            "width": 0.5,
            "keypointlabels": [skeleton.joints[joint]],
        }
        point = region(f"person-{number}-joint-{joint}", _JOINTS, "keypointlabels", value)
        if parent is not None:
            point["parentID"] = parent
        if pose.confidence is not None and math.isfinite(pose.confidence[joint]):
            point["score"] = float(pose.confidence[joint])
        results.append(point)
    return results


def _image_name(data: dict[str, Any], number: int) -> str:
    """Return what the task was written with, or else the path in the image's address."""
    if isinstance(data.get("image_name"), str) and data["image_name"]:
        return str(data["image_name"])
    texts = [value for key, value in data.items() if isinstance(value, str) and "/" in value]
    address = data.get("image") or (texts[0] if len(texts) == 1 else None)
    if not isinstance(address, str):
        raise ValueError(
            f"data must have the address of an image as 'image', got {', '.join(data)} in "
            f"[{number}]"
        )
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path).lstrip("/") or address


def _people(
    results: list[dict[str, Any]], image: str
) -> tuple[list[AnnotatedPose], tuple[int, int] | None]:
    boxes = {part["id"]: part for part in results if part.get("type") == "rectanglelabels"}
    points = {part["id"]: part for part in results if part.get("type") == "keypointlabels"}
    hidden = {str(part.get("id")) for part in results if _says_hidden(part)}
    parents = {name: part.get("parentID") for name, part in points.items()}
    for part in results:
        if part.get("type") == "relation":
            ends = (str(part.get("from_id")), str(part.get("to_id")))
            for point, rectangle in (ends, ends[::-1]):
                if point in points and rectangle in boxes and parents[point] not in boxes:
                    parents[point] = rectangle
    for name, parent in parents.items():
        written = _WRITTEN.match(name)
        if parent not in boxes and written and written[1] in boxes:
            parents[name] = written[1]
    of_person: dict[str | None, dict[str, tuple[float, float, int]]] = {name: {} for name in boxes}
    size = None
    for name, part in points.items():
        size, scale = _scale(part, image)
        value = part["value"]
        parent = parents[name] if parents[name] in boxes else None
        joints = of_person.setdefault(parent, {})
        for joint in value.get("keypointlabels") or []:
            if joint in joints:
                raise ValueError(
                    f"a person must have each joint once, got {joint!r} twice in {image!r}: put "
                    "the keypoints of each below a rectangle"
                )
            x, y = scale(value["x"], value["y"])
            joints[joint] = (x - _HALF, y - _HALF, HIDDEN if name in hidden else VISIBLE)
    people = []
    for parent, joints in of_person.items():
        if not joints:
            continue
        box = None
        if parent is not None:
            size, scale = _scale(boxes[parent], image)
            value = boxes[parent]["value"]
            corner = scale(value["x"], value["y"])
            box = (*corner, *scale(value["width"], value["height"]))
        people.append(AnnotatedPose(image, joints, _person_id(boxes.get(parent or "")), box, size))
    return people, size


def _says_hidden(part: dict[str, Any]) -> bool:
    value = part.get("value")
    choices = value.get("choices") if isinstance(value, dict) else None
    return part.get("type") == "choices" and isinstance(choices, list) and _HIDDEN in choices


def _person_id(rectangle: dict[str, Any] | None) -> str | None:
    text = ((rectangle or {}).get("meta") or {}).get("text") or []
    first = text[0] if isinstance(text, list) and text else ""
    return first.removeprefix("id ") if isinstance(first, str) and first[:3] == "id " else None


def _scale(
    part: dict[str, Any], image: str
) -> tuple[tuple[int, int], Callable[[float, float], tuple[float, float]]]:
    width, height = part.get("original_width"), part.get("original_height")
    if not isinstance(width, int) or not isinstance(height, int):
        raise ValueError(
            f"regions must have original_width and original_height, got {width!r} and {height!r} "
            f"in {image!r}"
        )
    if part.get("image_rotation"):
        raise ValueError(f"images must not be rotated in Label Studio, got {image!r}")
    return (width, height), lambda x, y: (x * width / 100, y * height / 100)
