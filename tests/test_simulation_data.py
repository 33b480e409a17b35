"""The data of a simulation: files of annotations, datasets of Python code, what is kept of them."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kornia")
pytest.importorskip("typer")

from PIL import Image  # noqa: E402
from simulated_figures import figures, write_config  # noqa: E402
from torch.utils.data import TensorDataset  # noqa: E402

from vl4pose.image_transform import ImageTransform  # noqa: E402
from vl4pose.simulation.config import read_config  # noqa: E402
from vl4pose.simulation.datasets import load_datasets  # noqa: E402
from vl4pose.simulation.labelled_images import LabelledImages  # noqa: E402
from vl4pose.simulation.pace import Pace, SimulationError  # noqa: E402
from vl4pose.simulation.records import read_records  # noqa: E402
from vl4pose.simulation.simulate import do_work  # noqa: E402
from vl4pose.simulation.work import make_bench  # noqa: E402
from vl4pose.training.reporting import Reporter  # noqa: E402

CPU = torch.device("cpu")
JOINTS = ("head", "left_hand", "right_hand")
FILES = {"train": None, "test": None, "annotations": "train.json", "test_annotations": "test.csv"}


@pytest.fixture(autouse=True)
def module_search_path(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


class Notes(Reporter):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def photos(tmp_path) -> Path:
    """Figures as image files, with their annotations as COCO keypoints and as a CSV."""
    (tmp_path / "photos").mkdir()
    for name, (number, seed) in {"train": (20, 0), "test": (6, 1)}.items():
        images, keypoints, _ = figures(number, seed).tensors
        keypoints = keypoints * 31 / 7  # pixels of 32 for those of heatmaps of 8
        for index, image in enumerate(images):
            path = tmp_path / "photos" / f"{name}{index}.png"
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
        if name == "test":
            columns = [f"{joint}_{axis}" for joint in JOINTS for axis in "xy"]
            with (tmp_path / "test.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["image", *columns])
                writer.writerows(
                    [f"test{index}.png", *pose.flatten().tolist()]
                    for index, pose in enumerate(keypoints)
                )
            continue
        flags = torch.full((number, 3, 1), 2.0)
        flags[3, 1] = 0
        triples = torch.cat([keypoints, flags], 2).flatten(1).tolist()
        person = {"category_id": 1, "bbox": [0, 0, 32, 32]}
        coco = {
            "images": [{"id": i, "file_name": f"train{i}.png"} for i in range(number)],
            "annotations": [
                {**person, "id": i, "image_id": i, "keypoints": triples[i]} for i in range(number)
            ],
            "categories": [{"id": 1, "name": "person", "keypoints": list(JOINTS)}],
        }
        (tmp_path / "train.json").write_text(json.dumps(coco))
    return tmp_path


def test_files_of_annotations(photos):
    data = {**FILES, "images": "photos"}
    config = read_config(write_config(photos, data=data))
    train, test = load_datasets(config, (8, 8), CPU)
    images, keypoints, _ = figures(20, 0).tensors
    order = sorted(range(20), key=lambda index: f"train{index}.png")  # sorted by image
    assert torch.equal(train.pixels, images[order])
    assert train.visible.sum() == 59
    assert not train.visible[order.index(3), 1]
    assert torch.allclose(train.keypoints[train.visible], keypoints[order][train.visible])
    assert torch.equal(test.pixels, figures(6, 1).tensors[0])
    image, pose, visible = train[4]
    assert torch.allclose(image, images[order[4]] / 255)
    assert torch.equal(pose, train.keypoints[4])
    assert visible.all()


def test_a_simulation_of_files(photos):
    simulation = {"seeds": [0], "cycles": 2, "strategies": ["vl4pose"]}
    data = {**FILES, "images": "photos"}
    config = read_config(write_config(photos, data=data, simulation=simulation))
    do_work(make_bench(config, photos / "out", CPU, Pace()))
    assert [record.num_labels for record in read_records(photos / "out")] == [6, 11]


def test_people_who_cannot_be_used_are_told(photos):
    (photos / "photos" / "train5.png").write_bytes(b"torn")
    config = read_config(write_config(photos, data={**FILES, "images": "photos"}))
    notes = Notes()
    train, _ = load_datasets(config, (8, 8), CPU, notes)
    assert len(train) == 19
    assert notes.notes == [
        "data.annotations: 1 of no use; the first, train5.png #5: not an image, or of an unknown "
        "format."
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, r"'.*' holds no image of '.*train.json': .* with data.images"),
        ({"images": "photo"}, r"data.images must be a folder, got '.*/photo'"),
        ({"annotations": "trian.json"}, r"data.annotations must exist, .*\(did you mean 'train.js"),
        ({"annotations": "arms.json"}, r"'.*arms.json': must be a COCO keypoints file"),
        ({"test_images": "tests"}, r"data.test_images must be a folder, got '.*/tests'"),
        ({"fit": "crop"}, r"data.fit must be letterbox where data.test_annotations has no boxes"),
    ],
)
def test_mistakes_about_files(changes, message, photos):
    config = read_config(write_config(photos, data={**FILES, "images": "photos", **changes}))
    with pytest.raises(ValueError, match=message):
        load_datasets(config, (8, 8), CPU)


class TestLabelledImages:
    TRANSFORM = ImageTransform((32, 32), scale=255.0, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))

    def read(self, images, keypoints=None, visible=None, name="data.train"):
        _, known, seen = figures(len(images), 0).tensors
        keypoints = known if keypoints is None else keypoints
        dataset = TensorDataset(images, keypoints, seen if visible is None else visible)
        return LabelledImages.read(dataset, name, 3, self.TRANSFORM, CPU)

    def test_network_input_is_kept_as_the_values_that_it_was_made_of(self):
        images = figures(5, 0).tensors[0]
        of_bytes = self.read(images)
        of_channels = (self.TRANSFORM.mean, self.TRANSFORM.std)
        mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in of_channels)
        inputs = (images / 255 - mean) / std
        of_floats = self.read(inputs)
        assert torch.equal(of_floats.pixels, of_bytes.pixels)
        assert of_floats.digest() == of_bytes.digest()
        assert torch.allclose(of_floats.inputs(of_floats.pixels), inputs, atol=1e-6)

    def test_the_digest_is_of_what_counts(self):
        images, keypoints, visible = figures(5, 0).tensors
        visible[2, 1] = False
        one = self.read(images, keypoints, visible).digest()
        keypoints = keypoints.clone()
        keypoints[2, 1] = torch.nan
        assert self.read(images, keypoints, visible).digest() == one
        keypoints[3, 1] += 1
        assert self.read(images, keypoints, visible).digest() != one

    def test_mistakes(self):
        images, keypoints, visible = figures(5, 0).tensors
        for given, message in (
            ((images.float(),), "data.train must hold uint8 images, or network input that scale, "),
            ((images[..., :16],), r"data.train must hold images .* \(3, 32, 32\), got \(3, 32, 16"),
            ((images, keypoints[:, :2]), r"data.train must hold keypoints .* \(3, 2\), got \(2, 2"),
            ((images, keypoints, visible.float()), r"data.train must hold visible \(J,\) of bool"),
            (
                (images, keypoints * torch.nan),
                "data.train must hold finite keypoints where visible",
            ),
            ((images[:0], keypoints[:0], visible[:0]), "data.train must hold at least one image"),
        ):
            with pytest.raises(ValueError, match=message):
                self.read(*given)

    def test_what_strategies_see_has_no_labels(self):
        images = self.read(figures(5, 0).tensors[0]).without_labels()
        assert not any(hasattr(images, name) for name in ("keypoints", "visible", "annotations"))
        assert len(images) == 5


def test_a_test_set_in_which_nothing_counts(tmp_path):
    config = read_config(write_config(tmp_path, evaluation={"normalize_by": "torso"}))
    with pytest.raises(
        SimulationError, match=r"the test set cannot be measured: normalize_by must"
    ):
        do_work(make_bench(config, tmp_path / "out", CPU, Pace()))
    assert np.array_equal(list((tmp_path / "out" / "runs").glob("*")), [])
