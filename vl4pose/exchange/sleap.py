"""SLEAP: .slp files, through sleap-io.

Poses are predicted instances, which SLEAP shows to be corrected and saves as instances of a
person's; the images are its labeling suggestions, in order of priority.

Notes
-----
- Points are pixels with their centre at integers, since version 1.1 of the format: nothing is
  moved.
- Images of one size are one "video" of SLEAP, a list of files. Each image has a frame.
- What SLEAP has no field for, reasons and the like, is in the file's provenance.
- A point that is not visible in SLEAP is one that nobody placed: it is not annotated. SLEAP has no
  flag for hidden joints.
"""

from __future__ import annotations

import json
import posixpath
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vl4pose.exchange.annotated_poses import VISIBLE, AnnotatedPose, AnnotatedPoses
from vl4pose.exchange.poses_to_annotate import ImageToAnnotate, PoseToAnnotate
from vl4pose.skeleton import Skeleton

__all__ = ["read", "write"]


def write(images: Sequence[ImageToAnnotate], skeleton: Skeleton, out: Path, *, root: str) -> None:
    """Write the file ``out``.

    Parameters
    ----------
    images : sequence of ImageToAnnotate
    skeleton : Skeleton
    out : Path
    root : str
        What the names of images are relative to; SLEAP opens the images there.

    Raises
    ------
    ValueError
        If a name has a backslash, which SLEAP takes for a slash.
    ModuleNotFoundError
        If sleap-io is not installed.
    """
    import sleap_io as sio  # type: ignore[import-not-found, import-untyped, unused-ignore]

    nodes = [sio.Node(joint) for joint in skeleton.joints]
    body = sio.Skeleton(
        nodes=nodes,
        edges=[sio.Edge(nodes[parent], nodes[child]) for parent, child in skeleton.links],
        symmetries=[sio.Symmetry([nodes[left], nodes[right]]) for left, right in skeleton.pairs],
        name=skeleton.name,
    )
    of_size: dict[tuple[int, int] | None, list[str]] = {}
    index_of = {}
    for image in images:
        if "\\" in image.name:
            raise ValueError(
                f"names of images must be without backslashes for SLEAP, got {image.name!r}"
            )
        names = of_size.setdefault(image.size, [])
        index_of[image.name] = len(names)
        names.append(image.name)
    videos = {size: _video(sio, size, names, root) for size, names in of_size.items()}
    frames, suggestions = [], []
    for image in images:
        video, index = videos[image.size], index_of[image.name]
        suggestions.append(sio.SuggestionFrame(video, index))
        instances = [
            _instance(sio, pose, body) for pose in image.poses if pose.keypoints is not None
        ]
        if instances:
            frames.append(sio.LabeledFrame(video, index, instances))
    people = [
        {"image": pose.image, "id": pose.person_id, "problem": pose.problem, **pose.attributes}
        for image in images
        for pose in image.poses
    ]
    labels = sio.Labels(
        labeled_frames=frames,
        videos=list(videos.values()),
        skeletons=[body],
        suggestions=suggestions,
        provenance={"vl4pose": json.dumps({"root": root, "people": people})},
    )
    temporary = out.with_name(f".{out.stem}.tmp.slp")
    try:
        with warnings.catch_warnings():
            # That a long provenance is stored elsewhere in the file: nothing is lost.
            warnings.filterwarnings("ignore", "Labels metadata JSON", UserWarning)
            sio.save_slp(labels, str(temporary), embed=False, verbose=False)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> AnnotatedPoses:
    """Read the instances that a person made or corrected; predicted ones are left out, counted.

    Raises
    ------
    ValueError
        If sleap-io cannot read the file, it has several skeletons, or a frame is of a video.
    ModuleNotFoundError
        If sleap-io is not installed.
    """
    import sleap_io as sio

    try:
        labels = sio.load_slp(str(path), open_videos=False)
    except Exception as error:  # a damaged file is met with errors of every kind
        raise ValueError(f"must be a .slp of SLEAP: {error}") from error
    if len(labels.skeletons) != 1:
        raise ValueError(f"must have one skeleton, got {len(labels.skeletons)}")
    out = AnnotatedPoses([], tuple(labels.skeletons[0].node_names))
    instances = [instance for frame in labels.labeled_frames for instance in frame.instances]
    corrected = {id(instance.from_predicted) for instance in instances}
    for suggestion in labels.suggestions:
        out.images[_image(suggestion.video, suggestion.frame_idx)] = _size(suggestion.video)
    for frame in labels.labeled_frames:
        name, size = _image(frame.video, frame.frame_idx), _size(frame.video)
        out.images[name] = size
        for instance in frame.instances:
            if isinstance(instance, sio.PredictedInstance):
                if id(instance) not in corrected:
                    out.left_out["predicted instances that nobody corrected"] += 1
                continue
            joints = {
                str(point["name"]): (float(point["xy"][0]), float(point["xy"][1]), VISIBLE)
                for point in instance.points
                if point["visible"] and np.isfinite(point["xy"]).all()
            }
            if joints:
                out.poses.append(AnnotatedPose(name, joints, size=size))
            else:
                out.left_out["instances without a visible point"] += 1
    return out


def _video(sio: Any, size: tuple[int, int] | None, names: Sequence[str], root: str) -> Any:
    files = [posixpath.join(root, name) for name in names]
    metadata: dict[str, Any] = {
        "type": "ImageVideo",
        "filename": files[0],
        "filenames": files,
        "grayscale": False,
    }
    if size is not None:
        metadata["shape"] = [len(files), size[1], size[0], 3]
    return sio.Video(files, open_backend=False, backend_metadata=metadata)


def _instance(sio: Any, pose: PoseToAnnotate, body: Any) -> Any:
    assert pose.keypoints is not None
    confidence = pose.confidence
    if confidence is None:
        confidence = np.full(len(pose.keypoints), np.nan)
    placed = ~np.isnan(pose.keypoints).any(axis=1)
    known = confidence[placed][np.isfinite(confidence[placed])]
    return sio.PredictedInstance.from_numpy(
        pose.keypoints,
        skeleton=body,
        point_scores=np.nan_to_num(confidence, nan=0.0),
        score=float(known.mean()) if len(known) else 0.0,
    )


def _image(video: Any, index: int) -> str:
    files = video.filename
    if not isinstance(files, list):
        raise ValueError(f"frames must be images, got frame {index} of the video {files!r}")
    if not 0 <= index < len(files):
        raise ValueError(f"frames must be below {len(files)}, got {index}")
    return str(files[index])


def _size(video: Any) -> tuple[int, int] | None:
    shape = video.shape
    return None if shape is None else (int(shape[2]), int(shape[1]))
