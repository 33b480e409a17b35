"""vl4pose.metrics.evaluate: heatmaps or a network, flip test, sub-pixel decoding."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from new_process import run_python

import vl4pose
from vl4pose import metrics
from vl4pose.image_transform import ImageTransform
from vl4pose.metrics import average_flipped, evaluate

LSP = vl4pose.get_skeleton("lsp")
FLIP = list(LSP.flip_index)
INPUT, SIZE = 256, 64  # of inputs and of heatmaps
STRIDE = INPUT / SIZE


def gaussians(xy: Any, size: int = SIZE, sigma: float = 2.0) -> Any:
    """(..., 2) to (..., size, size)."""
    grid = np.arange(size)
    x, y = (np.exp(-((grid - xy[..., [i]]) ** 2) / (2 * sigma**2)) for i in (0, 1))
    return y[..., :, None] * x[..., None, :]


def mirrored(input_xy: Any, width: int = INPUT) -> Any:
    """The same joints in the mirror image, in the order of the skeleton."""
    turned = input_xy.copy()
    turned[..., 0] = width - 1 - turned[..., 0]
    return turned[:, FLIP]


ALIGNMENTS = {
    "corners": lambda xy: vl4pose.to_heatmap_pixels(xy, (INPUT, INPUT), (SIZE, SIZE)),
    "centers": lambda xy: vl4pose.to_heatmap_pixels(
        xy, (INPUT, INPUT), (SIZE, SIZE), align="centers"
    ),
    "stride": lambda xy: xy / STRIDE,  # HRNet, SimpleBaseline, MMPose without UDP
}


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_flipped_heatmaps_lie_where_the_documentation_says(align: str):
    """Of a network that is always right, in the grid that it was trained in."""
    xy = np.random.default_rng(0).uniform(60, 190, (3, 14, 2))
    to_heatmap = ALIGNMENTS[align]
    heatmaps, flipped = (gaussians(to_heatmap(points)) for points in (xy, mirrored(xy)))

    def turned_back(shift: int) -> Any:
        """The average less what was averaged: the flipped maps alone."""
        return 2 * average_flipped(heatmaps, flipped, shift=shift, skeleton=LSP) - heatmaps

    def offset(shift: int) -> Any:
        keypoints = vl4pose.decode(turned_back(shift), subpixel="dark").keypoints
        return (keypoints - to_heatmap(xy)).reshape(-1, 2)

    if align == "stride":
        np.testing.assert_allclose(offset(0), np.tile([-0.75, 0], (42, 1)), atol=0.02)
        np.testing.assert_allclose(offset(1), np.tile([0.25, 0], (42, 1)), atol=0.02)
    else:
        np.testing.assert_allclose(turned_back(0), heatmaps, atol=1e-9)
        np.testing.assert_allclose(offset(1), np.tile([1, 0], (42, 1)), atol=0.02)


@pytest.mark.parametrize("shift", [-9, -2, 0, 1, 3, 8])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_average_flipped_by_loops(shift: int, as_tensor: bool):
    rng = np.random.default_rng(0)
    heatmaps, flipped = rng.random((2, 2, 14, 5, 9))
    expected = np.zeros_like(heatmaps)
    for j in range(14):
        for x in range(9):
            from_x = min(max(x - shift, 0), 8)
            turned = flipped[:, FLIP[j], :, 8 - from_x]
            expected[:, j, :, x] = (heatmaps[:, j, :, x] + turned) / 2
    if as_tensor:
        torch = pytest.importorskip("torch")
        heatmaps, flipped = torch.from_numpy(heatmaps), torch.from_numpy(flipped)
    made = average_flipped(heatmaps, flipped, shift=shift, skeleton="lsp")
    assert type(made) is type(heatmaps)
    np.testing.assert_allclose(np.asarray(made), expected)


def test_evaluation_of_heatmaps():
    rng = np.random.default_rng(0)
    truth = rng.uniform(10, 50, (5, 14, 2))
    visible = rng.random((5, 14)) < 0.8
    heatmaps = gaussians(truth).astype(np.float32)
    truth[~visible] = np.nan
    made = evaluate(heatmaps, truth, visible, subpixel="dark", metrics=["PCK@0.5", "MPJPE"])
    assert list(made.metrics) == ["PCK@0.5", "MPJPE"]
    assert made["PCK@0.5"].mean == 1
    assert made["MPJPE"].mean < 0.02
    coarse = evaluate(heatmaps, truth, visible, metrics=["MPJPE"])
    expected = vl4pose.decode(heatmaps)
    np.testing.assert_array_equal(coarse.keypoints, expected.keypoints)
    np.testing.assert_array_equal(coarse.confidence, expected.confidence)
    assert coarse["MPJPE"].mean > 0.2
    by_hand = metrics.mpjpe(expected.keypoints, truth, visible)
    assert coarse["MPJPE"].mean == by_hand.mean


def test_the_flip_test_is_in_the_evaluation():
    xy = np.random.default_rng(0).uniform(60, 190, (4, 14, 2))
    to_heatmap = ALIGNMENTS["stride"]
    heatmaps, flipped = (gaussians(to_heatmap(points)) for points in (xy, mirrored(xy)))
    truth = to_heatmap(xy)
    error = {
        shift: evaluate(
            heatmaps,
            truth,
            flipped=flipped,
            flip_shift=shift,
            subpixel="dark",
            metrics=["MPJPE"],
        )["MPJPE"].mean
        for shift in (0, 1)
    }
    assert error[0] == pytest.approx(0.375, abs=0.02)  # half of 0.75
    assert error[1] == pytest.approx(0.125, abs=0.02)


def test_every_name_is_its_metric():
    rng = np.random.default_rng(0)
    truth = rng.uniform(10, 50, (5, 14, 2))
    heatmaps = rng.random((5, 14, SIZE, SIZE), dtype=np.float32)
    keypoints = vl4pose.decode(heatmaps).keypoints
    expected = {
        "PCK@0.2": metrics.pck(keypoints, truth, thresholds=0.2),
        "PCK@1": metrics.pck(keypoints, truth, thresholds=1),
        "PCKh@.5": metrics.pckh(keypoints, truth, thresholds=0.5),
        "AUC@1.5": metrics.pck_auc(keypoints, truth, max_threshold=1.5),
        "PCP@0.5": metrics.pcp(keypoints, truth, thresholds=0.5),
        "MPJPE": metrics.mpjpe(keypoints, truth),
        "PA-MPJPE": metrics.mpjpe(keypoints, truth, align="procrustes"),
    }
    made = evaluate(heatmaps, truth, metrics=list(expected))
    for name, metric in expected.items():
        assert made[name].mean == metric.mean
        assert made[name].name == metric.name
    assert made["MPJPE"].mean > 1
    of_people = functools.partial(metrics.oks, areas=np.full(5, 900.0), sigmas=[0.1] * 14)
    own = evaluate(heatmaps, truth, metrics={"mine": of_people})
    expected_oks = metrics.oks(keypoints, truth, areas=np.full(5, 900.0), sigmas=[0.1] * 14)
    assert own["mine"].mean == expected_oks.mean
    with pytest.raises(KeyError, match="metric must be one of mine"):
        own["min"]


@pytest.mark.parametrize("align", ["corners", "centers"])
def test_keypoints_come_back_to_image_pixels(align: Any):
    transform = ImageTransform(input_size=(INPUT, INPUT), heatmap_align=align)
    sizes = [(640, 480), (300, 700), (256, 256)]
    placements = [transform.place(size) for size in sizes]
    rng = np.random.default_rng(0)
    truth = np.stack([rng.uniform(0.2, 0.8, (14, 2)) * size for size in sizes])
    xy = np.stack(
        [
            transform.image_to_heatmap(points, (SIZE, SIZE), placement)
            for points, placement in zip(truth, placements, strict=True)
        ]
    )
    made = evaluate(
        gaussians(xy),
        truth,
        transform=transform,
        placements=placements,
        subpixel="dark",
        metrics=["MPJPE"],
    )
    np.testing.assert_allclose(made.keypoints, truth, atol=0.2)
    assert made["MPJPE"].mean < 0.1


# --- networks


class Drawing:
    """A network that finds joints by their colour: joint j is the pixel of brightness j + 1."""

    def __init__(self, torch: Any) -> None:
        self.torch, self.calls = torch, []

    def __call__(self, images: Any) -> Any:
        self.calls.append(tuple(images.shape))
        values = self.torch.arange(1, 15, dtype=images.dtype)[:, None, None]
        return (images[:, :1] == values).float()


def drawn(torch: Any, num: int, size: int = 32) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    images = torch.zeros(num, 3, size, size)
    truth = np.zeros((num, 14, 2))
    for i in range(num):
        places = rng.choice(size * size, 14, replace=False)
        truth[i] = np.stack([places % size, places // size], axis=1)
        for j, (x, y) in enumerate(truth[i].astype(int)):
            images[i, 0, y, x] = j + 1
    return images, truth


def test_a_network_and_its_flip_test():
    torch = pytest.importorskip("torch")
    images, truth = drawn(torch, 7)
    network = Drawing(torch)
    made = evaluate(network, truth, images=images, batch_size=3, metrics=["MPJPE"])
    assert made["MPJPE"].mean == 0
    assert [shape[0] for shape in network.calls] == [3, 3, 1]

    def symmetric(batch: Any) -> Any:
        """As a network that knows left from right: in a mirror image they change places."""
        maps = network(batch)
        return maps[:, FLIP] if len(network.calls) % 2 else maps

    network.calls.clear()
    both = evaluate(
        symmetric, truth, images=images.split(4), flip=True, batch_size=7, metrics=["MPJPE"]
    )
    assert len(network.calls) == 4
    assert both["MPJPE"].mean == 0
    assert (both.confidence == 1).all()
    loaders = [[(batch, "names")] for batch in (images,)]
    for loader in (*loaders, [{"images": images}]):
        assert evaluate(network, truth, images=loader, metrics=["MPJPE"])["MPJPE"].mean == 0


def test_a_network_is_put_back_into_training():
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 14, 1), torch.nn.BatchNorm2d(14))
    before = [tensor.clone() for tensor in network.state_dict().values()]
    truth = np.full((4, 14, 2), 3.0) + np.arange(14)[:, None]
    made = evaluate(network, truth, images=torch.rand(4, 3, 16, 16), flip=True)
    assert list(made.metrics) == ["PCK@0.2", "PCK@0.5", "AUC@0.5"]
    assert network.training
    for tensor, old in zip(network.state_dict().values(), before, strict=True):
        assert torch.equal(tensor, old)


def test_tensors_are_decoded_as_arrays_are():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    heatmaps, flipped = rng.random((2, 3, 14, 16, 16), dtype=np.float32)
    truth = rng.uniform(2, 14, (3, 14, 2))
    ours = evaluate(heatmaps, truth, flipped=flipped, subpixel="quarter")
    tensors = [torch.from_numpy(array).requires_grad_() for array in (heatmaps, flipped)]
    theirs = evaluate(tensors[0], truth, flipped=tensors[1], subpixel="quarter")
    np.testing.assert_array_equal(ours.keypoints, theirs.keypoints)


def test_the_released_network_on_real_images(test_data: Path):
    """The same numbers as by hand, and those of a network that knows the people."""
    torch = pytest.importorskip("torch")
    lsp = pytest.importorskip("bench.lsp")
    from PIL import Image

    from vl4pose.nn import StackedHourglass

    network = StackedHourglass.from_released(test_data / "lsp_hourglass32.pth")
    transform = ImageTransform()
    numbers = range(1001, 1011)
    applied = []
    for number in numbers:
        with Image.open(lsp.image_path(test_data, number)) as image:
            applied.append(transform.apply(image.convert("RGB")))
    images = torch.from_numpy(np.stack([pixels for pixels, _ in applied]))
    truth = lsp.load_annotations(test_data)[numbers.start - 1 : numbers.stop - 1]
    made = evaluate(
        network,
        truth,
        images=images,
        transform=transform,
        placements=[placement for _, placement in applied],
    )
    # Written out, as it was measured before there was this module.
    joint = LSP.joint_index
    torso = np.maximum(
        *(
            np.linalg.norm(truth[:, joint(a)] - truth[:, joint(b)], axis=1)
            for a, b in (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"))
        )
    )
    errors = np.linalg.norm(made.keypoints - truth, axis=2) / torso[:, None]
    for threshold in (0.2, 0.5):
        assert made[f"PCK@{threshold}"].mean == (errors < threshold).mean()
    assert 0.5 < made["PCK@0.2"].mean < made["PCK@0.5"].mean


# --- errors


HEATMAPS, TRUTH = np.zeros((2, 14, 8, 8), np.float32), np.zeros((2, 14, 2))
PLACEMENTS = [ImageTransform().place((8, 8))]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pose": HEATMAPS[0]}, ValueError, r"pose must be \(B, J, H, W\), got shape \(14, 8, 8\)"),
        ({"pose": HEATMAPS[:1]}, ValueError, r"pose must be as many as truth \(2\), got 1"),
        ({"pose": HEATMAPS[:, :13]}, ValueError, r"pose must have a heatmap for each joint of"),
        ({"images": HEATMAPS}, ValueError, "images must be None where pose is heatmaps"),
        ({"flip": True}, ValueError, "flip must be False where pose is heatmaps, got True: give"),
        ({"flip": 1}, TypeError, "flip must be True or False, got 1"),
        ({"flipped": HEATMAPS[:1]}, ValueError, "flipped must be of the shape of heatmaps"),
        ({"flipped": [0.0]}, ValueError, "flipped must be of the shape of heatmaps"),
        ({"flip_shift": 0.5}, TypeError, "flip_shift must be an integer, got 0.5"),
        ({"flip_shift": 9, "flipped": HEATMAPS}, ValueError, "shift must be between -8 and 8"),
        ({"subpixel": "darc"}, ValueError, "subpixel must be one of .*did you mean 'dark'"),
        ({"transform": ImageTransform()}, ValueError, "placements must be given with transform"),
        ({"placements": PLACEMENTS}, ValueError, "placements must be given with transform, and"),
        (
            {"placements": PLACEMENTS, "transform": ImageTransform()},
            ValueError,
            r"placements must be one per image \(2\), got 1",
        ),
        ({"metrics": "PCK@0.2"}, TypeError, "metrics must be a sequence of names or a mapping"),
        ({"metrics": ["PCK"]}, ValueError, r"PCK@0.5'\?\), or with other numbers, got 'PCK'"),
        ({"metrics": ["PCKh@x"]}, ValueError, r"PCKh@0.5'\?\), or with other numbers, got"),
        ({"metrics": ["MPJP"]}, ValueError, r"did you mean 'MPJPE'\?"),
        ({"metrics": [3]}, TypeError, "metrics must hold names, got 3"),
        ({"metrics": {"a": 3}}, TypeError, "metrics must map names to callables, got 3 as 'a'"),
        ({"skeleton": "mpii"}, ValueError, "skeleton must have as many joints as the arrays"),
        ({"pose": "pose.pt"}, ValueError, "images must be given for a network, got None"),
        ({"pose": min, "flipped": HEATMAPS}, ValueError, "flipped must be None for a network"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        evaluate(**({"pose": HEATMAPS, "truth": TRUTH} | options))


def test_wrong_networks_and_images():
    torch = pytest.importorskip("torch")
    images = torch.zeros(2, 3, 8, 8)
    with pytest.raises(TypeError, match=r"pose must be a path, a module, .* got int"):
        evaluate(3, TRUTH, images=images)
    with pytest.raises(FileNotFoundError, match=r"pose must be an existing file, got 'pose.pt'"):
        evaluate("pose.pt", TRUTH, images=images)
    with pytest.raises(ValueError, match="pose must return one heatmap per joint"):
        evaluate(lambda images: images, TRUTH, images=images)
    with pytest.raises(TypeError, match="images must be a tensor or an iterable of batches, got"):
        evaluate(lambda images: images, TRUTH, images=3)
    with pytest.raises(ValueError, match="images must hold at least one batch, got none"):
        evaluate(lambda images: images, TRUTH, images=[])
    with pytest.raises(ValueError, match=r"images must be as many as truth \(2\), got 1"):
        evaluate(lambda x: x.new_zeros(len(x), 14, 8, 8), TRUTH, images=images[:1])
    with pytest.raises(TypeError, match="flipped must be of the kind of heatmaps, Tensor, got nd"):
        evaluate(torch.from_numpy(HEATMAPS), TRUTH, flipped=HEATMAPS)


def test_a_network_without_torch_says_what_to_install(tmp_path: Path):
    code = """
import sys
sys.modules["torch"] = None
import numpy as np
import vl4pose
try:
    vl4pose.metrics.evaluate(print, np.zeros((2, 14, 2)), images=[])
except ImportError as error:
    print(error)
"""
    done = run_python(code, tmp_path)
    expected = "evaluating a network needs torch: pip install 'vl4pose[torch]'\n"
    assert (done.stdout, done.stderr) == (expected, "")
