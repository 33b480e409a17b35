"""What annotation tools send back, for the tests of the formats and of the commands."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

import numpy as np
from exchange_cases import ROWS, SKELETON, poses_of, table

from vl4pose.exchange import coco, csv_file, cvat, deeplabcut, label_studio
from vl4pose.exchange.annotated_poses import AnnotatedPoses, in_skeleton
from vl4pose.exchange.poses_to_annotate import images_to_annotate, poses_to_annotate

POSES = poses_to_annotate(table(ROWS))
IMAGES = images_to_annotate(POSES)
TOLERANCE = 1e-3  # pixels


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
