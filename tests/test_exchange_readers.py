"""What is exported, read by the libraries of others; and what these write, imported.

These libraries bring dependencies of their own, which conflict with those of the other tests, so
that they run in an environment apart:

    pip install vl4pose pyarrow==25.0.1 label-studio-sdk==2.1.2 sleap-io==0.9.5 datumaro==1.13.12 \
        cvat-sdk==2.80.0 pycocotools==2.0.11 tables==3.11.1 typer pytest
    VL4POSE_READERS=1 pytest --noconftest tests/test_exchange_readers.py

A library that is not there is a skip that says so; with VL4POSE_READERS=1, an error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("typer")

sys.path.insert(0, str(Path(__file__).parent))  # without conftest.py, which needs torch

from exchange_cases import ROWS, SKELETON, poses_of, row, table

from vl4pose.exchange import coco, csv_file, cvat, deeplabcut, label_studio, sleap
from vl4pose.exchange.annotated_poses import in_skeleton, known_images, matched
from vl4pose.exchange.poses_to_annotate import images_to_annotate, poses_to_annotate

# The libraries' own warnings are not ours.
pytestmark = pytest.mark.filterwarnings("default")


def library(name: str) -> Any:
    """Import a module of another library, or skip."""
    if os.environ.get("VL4POSE_READERS"):
        return importlib.import_module(name)
    return pytest.importorskip(name)


POSES = poses_to_annotate(table(ROWS))
IMAGES = images_to_annotate(POSES)
EXPECTED = poses_of()
TOLERANCE = 1e-3  # pixels
MOVED = np.array([2.25, -0.5])


def assert_near(found, expected, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


def assert_imported(poses, expected=None, tolerance: float = TOLERANCE) -> None:
    """Check people that came back, each by the row that it is matched with."""
    poses = in_skeleton(poses, SKELETON)
    poses = known_images(poses, [image.name for image in IMAGES], "/photos")
    poses, rows = matched(poses, POSES)
    found = {}
    for pose, asked in zip(poses.poses, rows, strict=True):
        assert asked is not None
        place = [p for p in POSES if p.image == pose.image].index(asked)
        found[pose.image, place] = pose.keypoints
    expected = EXPECTED if expected is None else expected
    assert found.keys() == expected.keys()
    for name, keypoints in expected.items():
        assert_near(found[name], keypoints, tolerance)


def edited() -> dict[tuple[str, int], np.ndarray]:
    """Return the poses as somebody corrects them: every joint a little farther on."""
    return {name: keypoints + MOVED for name, keypoints in EXPECTED.items()}


# --- COCO -------------------------------------------------------------------------------------


def test_pycocotools_reads_coco(tmp_path) -> None:
    api = library("pycocotools.coco")
    coco.write(IMAGES, SKELETON, tmp_path / "a.json")
    data = api.COCO(str(tmp_path / "a.json"))
    (category,) = data.loadCats(data.getCatIds())
    assert category["keypoints"] == list(SKELETON.joints)
    links = [(a - 1, b - 1) for a, b in category["skeleton"]]
    assert links == list(SKELETON.links)
    images = data.loadImgs(data.getImgIds())
    assert [image["file_name"] for image in images] == [image.name for image in IMAGES]
    found = {}
    for image in images:
        annotations = data.loadAnns(data.getAnnIds(imgIds=image["id"]))
        for place, annotation in enumerate(annotations):
            triples = np.array(annotation["keypoints"]).reshape(-1, 3)
            assert annotation["num_keypoints"] == (triples[:, 2] > 0).sum()
            if annotation["num_keypoints"]:
                keypoints = np.where(triples[:, 2:] > 0, triples[:, :2], np.nan)
                found[image["file_name"], place] = keypoints
    assert found.keys() == EXPECTED.keys()
    for name, keypoints in EXPECTED.items():
        assert_near(found[name], keypoints)


def test_pycocotools_evaluates_what_was_exported(tmp_path) -> None:
    """The file is ground truth that the same poses, as results, meet exactly."""
    api = library("pycocotools.coco")
    evaluation = library("pycocotools.cocoeval")
    coco.write(IMAGES, SKELETON, tmp_path / "a.json")
    truth = api.COCO(str(tmp_path / "a.json"))
    results = [
        {key: item[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 1.0}
        for item in truth.dataset["annotations"]
        if item["num_keypoints"]
    ]
    run = evaluation.COCOeval(truth, truth.loadRes(results), "keypoints")
    run.params.kpt_oks_sigmas = np.full(SKELETON.num_joints, 0.05)
    run.evaluate()
    run.accumulate()
    run.summarize()
    assert run.stats[0] == pytest.approx(1.0)


# --- Label Studio -----------------------------------------------------------------------------


def label_studio_export(folder: Path) -> tuple[str, list[dict]]:
    """Return the interface and what Label Studio exports after predictions were submitted."""
    label_studio.write(IMAGES, SKELETON, folder, url_prefix="s3://bucket/")
    tasks = json.loads((folder / label_studio.TASKS).read_text())
    for number, task in enumerate(tasks, start=1):
        results = [r for part in task["predictions"] for r in part["result"]]
        task.update(id=number, annotations=[{"id": number, "result": results}] if results else [])
        task["predictions"] = []
    return (folder / label_studio.INTERFACE).read_text(), tasks


def test_label_studio_takes_interface_and_tasks(tmp_path) -> None:
    module = library("label_studio_sdk.label_interface")
    label_studio.write(IMAGES, SKELETON, tmp_path, url_prefix="s3://bucket/")
    interface = module.LabelInterface((tmp_path / label_studio.INTERFACE).read_text())
    interface.validate()
    assert interface.get_control("joints").labels == list(SKELETON.joints)
    tasks = json.loads((tmp_path / label_studio.TASKS).read_text())
    for task in tasks:
        for prediction in task.pop("predictions"):
            assert interface.validate_prediction(prediction, return_errors=True) == []
        assert interface.validate_task(task)
        assert task["data"].keys() >= {"image", "reasons"}  # the interface's variables


def test_label_studios_converter_reads_the_joints(tmp_path) -> None:
    module = library("label_studio_sdk.converter")
    interface, tasks = label_studio_export(tmp_path)
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    converter = module.Converter(interface, str(tmp_path), download_resources=False)
    converter.is_keypoints = True  # as where they export YOLO: whose a joint is
    converter.convert_to_json_min(str(tmp_path / "export.json"), str(tmp_path / "min"), False)
    found = {}
    for task in json.loads((tmp_path / "min" / "result.json").read_text()):
        people: dict[str | None, dict[str, list[float]]] = {}
        for point in task.get("joints", []):
            x = point["x"] * point["original_width"] / 100 - 0.5
            y = point["y"] * point["original_height"] / 100 - 0.5
            (name,) = point["keypointlabels"]
            person = people.setdefault(point.get("parentID"), {})
            assert name not in person
            person[name] = [x, y]
        for place, joints in enumerate(people.values()):
            pose = [joints.get(joint, [np.nan, np.nan]) for joint in SKELETON.joints]
            found[task["image_name"], place] = np.array(pose)
    assert found.keys() == EXPECTED.keys()
    for name, keypoints in EXPECTED.items():
        assert_near(found[name], keypoints)


def test_label_studios_coco_has_every_joint_at_its_place(tmp_path) -> None:
    """Their exporter rounds to whole pixels, and takes all joints of a task for one person's."""
    module = library("label_studio_sdk.converter")
    interface, tasks = label_studio_export(tmp_path)
    alone = [task for task in tasks if task["data"]["image_name"] != "two, people.png"]
    (tmp_path / "export.json").write_text(json.dumps(alone))
    converter = module.Converter(interface, str(tmp_path), download_resources=False)
    converter.convert_to_coco(str(tmp_path / "export.json"), str(tmp_path / "coco"), is_dir=False)
    data = json.loads((tmp_path / "coco" / "result.json").read_text())
    (category,) = [item for item in data["categories"] if "keypoints" in item]
    assert category["keypoints"] == list(SKELETON.joints)
    poses = [np.reshape(a["keypoints"], (-1, 3)) for a in data["annotations"] if "keypoints" in a]
    expected = [keypoints for (name, _), keypoints in EXPECTED.items() if "two" not in name]
    assert len(poses) == len(expected)
    for triples, keypoints in zip(poses, expected, strict=True):
        placed = ~np.isnan(keypoints).any(axis=1)
        assert triples[:, 2].tolist() == np.where(placed, 2, 0).tolist()
        assert_near(triples[placed, :2], keypoints[placed] + 0.5, 0.5)


def test_label_studio_comes_back(tmp_path) -> None:
    _, tasks = label_studio_export(tmp_path)
    for task in tasks:
        for annotation in task["annotations"]:
            for result in annotation["result"]:
                if result["type"] == "keypointlabels":
                    result["value"]["x"] += MOVED[0] * 100 / result["original_width"]
                    result["value"]["y"] += MOVED[1] * 100 / result["original_height"]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    assert_imported(label_studio.read(tmp_path / "export.json"), edited())


def test_sleap_io_writes_label_studio_and_it_is_read(tmp_path) -> None:
    """People as sleap-io groups them: by relations to a rectangle."""
    sio = library("sleap_io")
    body = sio.Skeleton(list(SKELETON.joints))
    first, second = EXPECTED["two, people.png", 0], EXPECTED["two, people.png", 1]
    video = sio.Video(["/photos/two, people.png"], open_backend=False)
    people = [sio.Instance.from_numpy(pose, skeleton=body) for pose in (first, second)]
    labels = sio.Labels([sio.LabeledFrame(video, 0, people)])
    sio.save_labelstudio(labels, str(tmp_path / "a.json"))
    tasks = json.loads((tmp_path / "a.json").read_text())
    tasks[0]["data"]["image"] = "/data/local-files/?d=two%2C%20people.png"  # it writes none
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    poses = in_skeleton(label_studio.read(tmp_path / "a.json"), SKELETON).poses
    assert [pose.image for pose in poses] == ["two, people.png"] * 2
    for pose, keypoints in zip(poses, (first, second), strict=True):
        assert_near(pose.keypoints + 0.5, keypoints)  # sleap-io moves nothing


# --- SLEAP ------------------------------------------------------------------------------------


def file_name(video, index: int) -> str:
    return str(video.filename[index]).removeprefix("/photos/")


def test_sleap_io_reads_slp(tmp_path) -> None:
    sio = library("sleap_io")
    sleap.write(IMAGES, SKELETON, tmp_path / "a.slp", root="/photos")
    labels = sio.load_slp(str(tmp_path / "a.slp"), open_videos=False)
    (body,) = labels.skeletons
    assert body.node_names == list(SKELETON.joints)
    assert body.edge_inds == list(SKELETON.links)
    assert {frozenset(pair) for pair in body.symmetry_names} == {
        frozenset(["left_hand", "right_hand"])
    }
    found = {}
    for frame in labels.labeled_frames:
        name = file_name(frame.video, frame.frame_idx)
        for place, instance in enumerate(frame.instances):
            assert isinstance(instance, sio.PredictedInstance)
            found[name, place] = instance.numpy()
            placed = ~np.isnan(instance.numpy()).any(axis=1)
            scores = np.array([0.9, 0.8, 0.7, 0.6])
            assert_near(instance.points["score"][placed], scores[placed])
    assert found.keys() == EXPECTED.keys()
    for name, keypoints in EXPECTED.items():
        assert_near(found[name], keypoints)
    order = [file_name(s.video, s.frame_idx) for s in labels.suggestions]
    assert order == [image.name for image in IMAGES]
    people = json.loads(labels.provenance["vl4pose"])["people"]
    assert people[0]["reasons"] == POSES[0].attributes["reasons"]
    assert people[0]["rank"] == 1
    assert next(item for item in people if item["image"] == "failed.png")["problem"]


def test_h5py_reads_slp(tmp_path) -> None:
    library("sleap_io")
    h5py = library("h5py")
    sleap.write(IMAGES[:1], SKELETON, tmp_path / "a.slp", root="/photos")
    with h5py.File(tmp_path / "a.slp") as file:
        points = file["pred_points"][:]
        assert file["metadata"].attrs["format_id"] >= 1.1  # centres of pixels at integers
        assert len(file["instances"]) == 1
    assert_near(np.stack([points["x"], points["y"]], 1), EXPECTED["b.png", 0])


def test_slp_comes_back(tmp_path) -> None:
    sio = library("sleap_io")
    sleap.write(IMAGES, SKELETON, tmp_path / "a.slp", root="/photos")
    assert_imported(sleap.read(tmp_path / "a.slp"), {})  # predictions are nobody's labels
    labels = sio.load_slp(str(tmp_path / "a.slp"), open_videos=False)
    expected = edited()
    for frame in labels.labeled_frames:
        for prediction in list(frame.instances):
            moved = prediction.numpy() + MOVED
            own = sio.Instance.from_numpy(moved, skeleton=labels.skeletons[0])
            own.from_predicted = prediction
            frame.instances.append(own)
    # One joint that a person said is not visible, at a place that means nothing.
    hidden = labels.labeled_frames[0].instances[-1]
    hidden.points["visible"][3] = False
    expected["b.png", 0][3] = np.nan
    sio.save_slp(labels, str(tmp_path / "b.slp"), embed=False)
    back = sleap.read(tmp_path / "b.slp")
    assert back.left_out == {}
    assert len(back.images) == len(IMAGES)
    assert_imported(back, expected)


def test_backslashes_are_refused_for_sleap(tmp_path) -> None:
    library("sleap_io")
    images = images_to_annotate(poses_to_annotate(table([row("a\\b.png", None)])))
    with pytest.raises(ValueError, match="must be without backslashes for SLEAP, got"):
        sleap.write(images, SKELETON, tmp_path / "a.slp", root="/photos")


def test_slp_of_other_files_is_refused(tmp_path) -> None:
    library("sleap_io")
    (tmp_path / "a.slp").write_text("no HDF5")
    with pytest.raises(ValueError, match=r"must be a \.slp of SLEAP"):
        sleap.read(tmp_path / "a.slp")


# --- DeepLabCut -------------------------------------------------------------------------------


def images_of_folder(folder: str) -> dict[str, str]:
    places = deeplabcut.places_of(image.name for image in IMAGES)
    return {p.split("/")[2]: name for name, p in places.items() if p.split("/")[1] == folder}


def poses_of_frame(frame, folder: str) -> dict[tuple[str, int], np.ndarray]:
    """Return the poses of a table of DeepLabCut's, of several animals."""
    found = {}
    scorer = frame.columns.get_level_values(0)[0]
    for index, values in frame.iterrows():
        for place, animal in enumerate(["individual1", "individual2"]):
            pose = np.array(
                [[values[scorer, animal, j, c] for c in "xy"] for j in SKELETON.joints], float
            )
            if not np.isnan(pose).all():
                found[images_of_folder(folder)[index[2]], place] = pose
    return found


@pytest.mark.parametrize("ending", ["csv", "h5"])
def test_pandas_reads_deeplabcut(ending, tmp_path) -> None:
    pd = library("pandas")
    if ending == "h5":
        library("tables")
    assert deeplabcut.write(IMAGES, SKELETON, tmp_path) == [] or ending == "csv"
    found = {}
    for folder in (tmp_path / "labeled-data").iterdir():
        file = folder / f"machinelabels-iter0.{ending}"
        if ending == "csv":
            frame = pd.read_csv(file, header=[0, 1, 2, 3], index_col=[0, 1, 2])
        else:
            frame = pd.read_hdf(file)
        assert frame.columns.names == ["scorer", "individuals", "bodyparts", "coords"]
        found |= poses_of_frame(frame, folder.name)
    assert found.keys() == EXPECTED.keys()
    for name, keypoints in EXPECTED.items():
        assert_near(found[name], keypoints)


def test_pandas_reads_one_animal(tmp_path) -> None:
    pd = library("pandas")
    images = images_to_annotate(poses_to_annotate(table(ROWS[:1])))
    deeplabcut.write(images, SKELETON, tmp_path)
    file = tmp_path / "labeled-data" / "images" / "machinelabels-iter0.csv"
    frame = pd.read_csv(file, header=[0, 1, 2], index_col=[0, 1, 2])
    pose = [[frame["vl4pose", j, c].iloc[0] for c in "xy"] for j in SKELETON.joints]
    assert_near(np.array(pose), EXPECTED["b.png", 0])


@pytest.mark.parametrize("ending", ["csv", "h5"])
def test_labels_of_deeplabcut_come_back(ending, tmp_path) -> None:
    """Labels as DeepLabCut saves them: the predictions without likelihood, moved."""
    pd = library("pandas")
    if ending == "h5":
        library("tables")
    deeplabcut.write(IMAGES, SKELETON, tmp_path)
    for folder in (tmp_path / "labeled-data").iterdir():
        file = folder / "machinelabels-iter0.csv"
        frame = pd.read_csv(file, header=[0, 1, 2, 3], index_col=[0, 1, 2])
        labels = frame.drop(columns="likelihood", level="coords")
        coords = labels.columns.get_level_values("coords")
        labels.loc[:, coords == "x"] += MOVED[0]
        labels.loc[:, coords == "y"] += MOVED[1]
        if ending == "h5":
            labels.to_hdf(folder / "CollectedData_ann.h5", key="df_with_missing", mode="w")
        else:
            labels.to_csv(folder / "CollectedData_ann.csv")
    back = deeplabcut.read(tmp_path)
    assert back.left_out == {"images without a label": 2}
    assert_imported(back, edited())


def test_sleap_io_reads_labels_of_deeplabcut(tmp_path) -> None:
    sio = library("sleap_io")
    pd = library("pandas")
    rows = [ROWS[0], row("c.png", [[1, 2], [3, 4], [5, 6], [7, 8]])]  # it cannot read one alone
    images = images_to_annotate(poses_to_annotate(table(rows)))
    deeplabcut.write(images, SKELETON, tmp_path)
    folder = tmp_path / "labeled-data" / "images"
    for image in images:
        library("PIL.Image").new("RGB", (640, 480)).save(folder / image.name)
    frame = pd.read_csv(folder / "machinelabels-iter0.csv", header=[0, 1, 2], index_col=[0, 1, 2])
    frame.drop(columns="likelihood", level="coords").to_csv(folder / "CollectedData_a.csv")
    labels = sio.load_dlc(str(folder / "CollectedData_a.csv"))
    assert labels.skeletons[0].node_names == list(SKELETON.joints)
    found = [frame.instances[0].numpy() for frame in labels.labeled_frames]
    assert_near(np.stack(found), np.stack([item["refined_keypoints"] for item in rows]))


# --- CVAT -------------------------------------------------------------------------------------


def test_datumaro_reads_the_points_of_cvat(tmp_path) -> None:
    """Datumaro of PyPI knows no skeletons: it reads their joints as points with labels.

    It rounds them to hundredths, as CVAT does; so these poses are in hundredths.
    """
    dm = library("datumaro")
    components = library("datumaro.components.annotation")
    rows = [
        item | {"refined_keypoints": None if points is None else np.round(points, 2).tolist()}
        for item, points in ((item, item["refined_keypoints"]) for item in ROWS)
    ]
    images = images_to_annotate(poses_to_annotate(table(rows)))
    cvat.write(images, SKELETON, tmp_path)
    for image in images:
        file = tmp_path / "images" / image.name
        file.parent.mkdir(parents=True, exist_ok=True)
        library("PIL.Image").new("RGB", (640, 480)).save(file)
    data = dm.Dataset.import_from(str(tmp_path / cvat.ANNOTATIONS), "cvat")
    labels = data.categories()[components.AnnotationType.label]
    names = [label.name for label in labels.items]
    assert names == ["person", *SKELETON.joints]
    found: dict[str, list[tuple[str, float, float]]] = {}
    for item in data:
        image = next(i.name for i in images if i.name.rsplit(".", 1)[0] == item.id)
        for part in item.annotations:
            if part.type == components.AnnotationType.points:
                x, y = part.points
                found.setdefault(image, []).append((names[part.label], x - 0.5, y - 0.5))
    assert len(list(data)) == len(images)
    for image in images:
        points = found.get(image.name, [])
        poses = [pose.keypoints for pose in image.poses if pose.keypoints is not None]
        assert [name for name, _, _ in points] == list(SKELETON.joints) * len(poses)
        if poses:
            expected = np.concatenate(poses)
            placed = ~np.isnan(expected).any(axis=1)
            assert_near(np.array([p[1:] for p in points])[placed], expected[placed])


def test_cvats_own_models_take_the_labels(tmp_path) -> None:
    models = library("cvat_sdk.models")
    cvat.write(IMAGES, SKELETON, tmp_path)
    (label,) = json.loads((tmp_path / cvat.LABELS).read_text())
    attributes = [models.AttributeRequest(**part) for part in label.pop("attributes")]
    sublabels = []
    for part in label.pop("sublabels"):
        own = [models.AttributeRequest(**attribute) for attribute in part.pop("attributes")]
        sublabels.append(models.SublabelRequest(**part, attributes=own))
    request = models.PatchedLabelRequest(**label, attributes=attributes, sublabels=sublabels)
    assert request.type == "skeleton"
    assert [part.name for part in request.sublabels] == list(SKELETON.joints)


# --- CSV --------------------------------------------------------------------------------------


def test_pandas_reads_csv(tmp_path) -> None:
    pd = library("pandas")
    csv_file.write(POSES, SKELETON, tmp_path / "a.csv")
    frame = pd.read_csv(tmp_path / "a.csv", dtype={"id": str})
    assert frame["rank"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert frame["reasons"].tolist() == [pose.attributes["reasons"] for pose in POSES]
    columns = [f"{joint}_{axis}" for joint in SKELETON.joints for axis in "xy"]
    for pose, values in zip(POSES, frame[columns].to_numpy(), strict=True):
        expected = np.full((4, 2), np.nan) if pose.keypoints is None else pose.keypoints
        assert_near(values.reshape(4, 2), expected)
    assert frame["image"].iloc[-1] == "./" + ROWS[-1]["image"]


# --- many -------------------------------------------------------------------------------------


def test_a_thousand_images(tmp_path) -> None:
    library("sleap_io")
    rng = np.random.default_rng(0)
    poses = rng.uniform(0, 480, (1000, 4, 2)).round(3)
    rows = [row(f"{i:04d}.png", pose.tolist()) for i, pose in enumerate(poses)]
    images = images_to_annotate(poses_to_annotate(table(rows)))
    sleap.write(images, SKELETON, tmp_path / "a.slp", root="/photos")
    sio = library("sleap_io")
    labels = sio.load_slp(str(tmp_path / "a.slp"), open_videos=False)
    assert_near(np.stack([frame.instances[0].numpy() for frame in labels]), poses)
