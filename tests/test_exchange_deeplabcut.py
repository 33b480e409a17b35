"""DeepLabCut: what is exported, and read back."""

from __future__ import annotations

import csv
import json

import pytest

pytest.importorskip("pyarrow")

from exchange_cases import ROWS, SKELETON, row, table
from returned_annotations import IMAGES

from vl4pose.exchange import deeplabcut
from vl4pose.exchange.poses_to_annotate import images_to_annotate, poses_to_annotate


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


def test_a_second_export_to_deeplabcut_keeps_the_first(tmp_path) -> None:
    for rows in (ROWS[:1], ROWS[1:2]):
        deeplabcut.write(images_to_annotate(poses_to_annotate(table(rows))), SKELETON, tmp_path)
    entries = json.loads((tmp_path / "images.json").read_text())
    assert [entry["image"] for entry in entries.values()] == [ROWS[0]["image"], ROWS[1]["image"]]


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
