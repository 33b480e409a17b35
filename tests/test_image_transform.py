"""Images into network input and heatmap pixels back: geometry, resampling, values."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vl4pose.image_transform import ImageTransform, to_heatmap_pixels

BOXES = [None, (10.0, 20.0, 30.0, 40.0), (3.3, 4.7, 61.1, 22.9), (-15.0, -5.0, 60.0, 90.0)]
SIZES = [(100, 80), (80, 100), (37, 91), (640, 480)]
INPUTS = [(256, 256), (192, 256), (64, 48)]


def gaussian_image(size: tuple[int, int], centre: tuple[float, float], sigma: float) -> Image.Image:
    """Return a grey blob whose centre is at ``centre``, integers being the centres of pixels."""
    x, y = np.arange(size[0]), np.arange(size[1])[:, None]
    blob = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))
    return Image.fromarray((255 * blob).round().astype(np.uint8)).convert("RGB")


def centroid(pixels: np.ndarray) -> np.ndarray:
    weights = pixels.astype(np.float64)
    y, x = np.indices(weights.shape)
    return np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum()


# --- geometry ---------------------------------------------------------------------------------


def test_letterbox_is_centred_and_touches_the_longer_side():
    transform = ImageTransform()
    assert transform.place((512, 256)).target == (0, 64, 256, 192)
    assert transform.place((256, 512)).target == (64, 0, 192, 256)
    assert transform.place((100, 100)).target == (0, 0, 256, 256)
    assert transform.place((512, 256)).source == (0, 0, 512, 256)


def test_letterbox_cuts_its_size_to_pixels_and_accounts_for_it():
    # 256 / 333 * 200 = 153.75 pixels: cut to 153, so the axes differ a little in scale.
    placement = ImageTransform().place((333, 200))
    assert placement.target == (0, 51, 256, 204)
    corners = placement.image_to_input([[-0.5, -0.5], [332.5, 199.5]])
    np.testing.assert_allclose(corners, [[-0.5, 50.5], [255.5, 203.5]], atol=1e-12)


def test_letterbox_fills_the_longer_side_whatever_its_length():
    for length in range(1, 2000):
        assert ImageTransform().place((length, 1)).target[::2] == (0, 256)


def test_letterbox_keeps_a_pixel_of_an_extremely_long_image():
    assert ImageTransform().place((10_000, 1)).target == (0, 127, 256, 128)


def test_letterbox_with_a_box_shows_the_part_inside_the_image():
    placement = ImageTransform().place((100, 80), (-20, -30, 60, 70))
    assert placement.source == (0, 0, 40, 40)
    assert placement.target == (0, 0, 256, 256)


def test_crop_is_around_the_boxs_centre_in_the_inputs_aspect():
    transform = ImageTransform(input_size=(192, 256), fit="crop", crop_scale=1.25)
    # Box centre (300, 200); height rules: 1.25 * 80 = 100 high, 75 wide.
    placement = transform.place((640, 480), (290, 160, 20, 80))
    np.testing.assert_allclose(placement.source, (262.5, 150, 337.5, 250))
    assert placement.target == (0, 0, 192, 256)
    centre = placement.image_to_input([299.5, 199.5])
    np.testing.assert_allclose(centre, [95.5, 127.5], atol=1e-9)


def test_crop_beyond_the_image_is_partly_black():
    transform = ImageTransform(input_size=(100, 100), fit="crop", crop_scale=2.0)
    image = Image.new("RGB", (50, 50), (255, 255, 255))
    pixels, placement = transform.apply(image, (0, 0, 50, 50))  # 100 x 100 around (25, 25)
    assert placement.target == (25, 25, 75, 75)
    assert placement.source == (0, 0, 50, 50)
    expected = np.zeros((3, 100, 100), np.float32)
    expected[:, 25:75, 25:75] = 255 / 256
    np.testing.assert_array_equal(pixels, expected)


def test_crop_leaves_black_what_lies_only_partly_in_the_image():
    transform = ImageTransform(input_size=(10, 10), fit="crop", crop_scale=1.0)
    # One input pixel is one image pixel, shifted by half of one: columns 0 and 9 straddle.
    placement = transform.place((9, 10), (-0.5, 0, 10, 10))
    assert placement.target == (1, 0, 9, 10)
    assert placement.source == (0.5, 0, 8.5, 10)


def test_crop_without_a_box_is_the_letterbox():
    crop = ImageTransform(fit="crop").place((333, 200))
    assert crop == ImageTransform(fit="letterbox").place((333, 200))


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
@pytest.mark.parametrize(("size", "box", "inputs"), list(itertools.product(SIZES, BOXES, INPUTS)))
def test_placement_round_trip(fit, size, box, inputs):
    placement = ImageTransform(input_size=inputs, fit=fit).place(size, box)
    xy = np.random.default_rng(0).uniform(-100, 500, (20, 2))
    np.testing.assert_allclose(placement.input_to_image(placement.image_to_input(xy)), xy)
    x0, y0, x1, y1 = placement.source
    assert 0 <= x0 < x1 <= size[0]
    assert 0 <= y0 < y1 <= size[1]


@pytest.mark.parametrize("align", ["corners", "centers"])
@pytest.mark.parametrize("heatmap", [(64, 64), (48, 64), (1, 1), (7, 1)])
@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_heatmap_round_trip(align, heatmap, fit):
    transform = ImageTransform(input_size=(192, 256), fit=fit, heatmap_align=align)
    placement = transform.place((333, 200), (20.5, 30.25, 100, 120))
    xy = np.random.default_rng(1).uniform(0, 64, (20, 2))
    if align == "corners":
        xy = np.where(np.array(heatmap) == 1, 0.0, xy)  # one pixel has no inverse
    back = transform.image_to_heatmap(
        transform.heatmap_to_image(xy, heatmap, placement), heatmap, placement
    )
    np.testing.assert_allclose(back, xy, atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    inputs=st.tuples(st.integers(1, 512), st.integers(1, 512)),
    fit=st.sampled_from(["letterbox", "crop"]),
    x=st.floats(-2000, 4000),
    y=st.floats(-2000, 4000),
    box_width=st.floats(0.01, 5000),
    box_height=st.floats(0.01, 5000),
)
def test_any_box_has_a_consistent_placement_or_a_reason(
    width, height, inputs, fit, x, y, box_width, box_height
):
    transform = ImageTransform(input_size=inputs, fit=fit)
    try:
        placement = transform.place((width, height), (x, y, box_width, box_height))
    except ValueError as error:
        reason = str(error)
        assert reason.startswith(("box must overlap", "box must leave"))
        return
    left, top, right, bottom = placement.target
    assert 0 <= left < right <= inputs[0]
    assert 0 <= top < bottom <= inputs[1]
    x0, y0, x1, y1 = placement.source
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    edges = placement.image_to_input([[x0 - 0.5, y0 - 0.5], [x1 - 0.5, y1 - 0.5]])
    np.testing.assert_allclose(
        edges, [[left - 0.5, top - 0.5], [right - 0.5, bottom - 0.5]], atol=1e-6
    )


def test_corners_is_the_documented_factor_of_the_released_networks():
    transform = ImageTransform(heatmap_align="corners")
    placement = transform.place((256, 256))
    xy = transform.heatmap_to_image([[0, 0], [63, 63], [21, 42]], (64, 64), placement)
    np.testing.assert_allclose(xy, [[0, 0], [255, 255], [85, 170]], atol=1e-12)


def test_centers_is_the_middle_of_a_block():
    transform = ImageTransform(heatmap_align="centers")
    placement = transform.place((256, 256))
    xy = transform.heatmap_to_image([[0, 0], [63, 63]], (64, 64), placement)
    np.testing.assert_allclose(xy, [[1.5, 1.5], [253.5, 253.5]], atol=1e-12)


def test_a_heatmap_of_one_pixel_is_the_middle_of_the_input():
    placement = ImageTransform().place((256, 256))
    for align in ("corners", "centers"):
        xy = ImageTransform(heatmap_align=align).heatmap_to_image([0, 0], (1, 1), placement)
        np.testing.assert_allclose(xy, [127.5, 127.5])


def test_nan_stays_nan():
    transform = ImageTransform()
    xy = transform.heatmap_to_image([math.nan, 3.0], (64, 64), transform.place((100, 80)))
    assert np.isnan(xy[0])
    assert np.isfinite(xy[1])


# --- resampling -------------------------------------------------------------------------------


def test_pixel_centres_are_those_of_pillows_resize():
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (60, 90, 3), np.uint8))
    pixels, placement = ImageTransform(input_size=(45, 30), scale=1).apply(image)
    resized = np.asarray(image.resize((45, 30), Image.Resampling.BILINEAR))
    assert placement.target == (0, 0, 45, 30)
    np.testing.assert_array_equal(pixels, resized.transpose(2, 0, 1).astype(np.float32))


def test_an_integer_enlargement_interpolates_between_pixel_centres():
    ramp = np.repeat(np.arange(8, dtype=np.uint8)[None] * 30, 8, axis=0)
    image = Image.fromarray(ramp).convert("RGB")
    pixels, placement = ImageTransform(input_size=(32, 32), scale=1).apply(image)
    x = placement.input_to_image(np.stack([np.arange(32), np.zeros(32)], axis=1))[:, 0]
    np.testing.assert_allclose(pixels[0, 16], 30 * np.clip(x, 0, 7), atol=0.51)


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
@pytest.mark.parametrize(
    ("size", "box", "centre"),
    [
        ((640, 480), None, (301.3, 217.8)),
        ((333, 200), None, (40.0, 160.0)),
        ((640, 480), (250.3, 150.7, 90.2, 130.9), (290.25, 220.5)),
        ((60, 40), None, (21.4, 17.9)),
        ((60, 90), (-10.5, 5.25, 50.0, 60.5), (21.4, 37.9)),
    ],
)
def test_a_blob_comes_back_where_it_was(fit, size, box, centre):
    transform = ImageTransform(fit=fit)
    pixels, placement = transform.apply(gaussian_image(size, centre, sigma=2.5), box)
    found = placement.input_to_image(centroid(pixels[1]))
    np.testing.assert_allclose(found, centre, atol=0.05)


@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_a_single_pixel_comes_back_where_it_was(fit):
    image = Image.new("RGB", (97, 61))
    image.putpixel((40, 30), (255, 255, 255))
    pixels, placement = ImageTransform(fit=fit).apply(image, (20, 15, 50, 40))
    found = placement.input_to_image(centroid(pixels[0]))
    np.testing.assert_allclose(found, (40, 30), atol=0.02)


# --- values -----------------------------------------------------------------------------------


def test_channels_are_scaled_then_standardised_and_stay_in_rgb_order():
    transform = ImageTransform(
        input_size=(4, 4), scale=255, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0)
    )
    pixels, _ = transform.apply(Image.new("RGB", (4, 2), (255, 51, 102)))
    assert pixels.dtype == np.float32
    assert pixels.shape == (3, 4, 4)
    np.testing.assert_allclose(pixels[:, 1, 0], [1.8, 0.0, 0.05], atol=1e-7)
    np.testing.assert_allclose(pixels[:, 0, 0], [-0.2, -0.8, -0.15], atol=1e-7)  # padding: black


def test_one_number_stands_for_three():
    image = Image.new("RGB", (4, 4), (10, 20, 30))
    one, _ = ImageTransform(mean=0.5, std=2.0).apply(image)
    three, _ = ImageTransform(mean=(0.5,) * 3, std=(2.0,) * 3).apply(image)
    np.testing.assert_array_equal(one, three)


# --- settings ---------------------------------------------------------------------------------


def test_json_round_trip():
    transform = ImageTransform(
        (192, 256), (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), 255.0, "crop", 1.25, "centers"
    )
    data = transform.to_json()
    assert data["input_size"] == [192, 256]
    assert ImageTransform.from_json(data) == transform
    assert ImageTransform.from_json({}) == ImageTransform()


SIZE_RULE = "input_size must be two whole numbers (width, height) from 1 to 16384"


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"input_size": (256, 0)}, ValueError, f"{SIZE_RULE}, got (256, 0)"),
        ({"input_size": (256, 20000)}, ValueError, f"{SIZE_RULE}, got (256, 20000)"),
        ({"input_size": (256.0, 256)}, TypeError, f"{SIZE_RULE}, got (256.0, 256)"),
        ({"input_size": (True, 256)}, TypeError, f"{SIZE_RULE}, got (True, 256)"),
        ({"input_size": "256"}, TypeError, f"{SIZE_RULE}, got '256'"),
        ({"input_size": (1, 2, 3)}, TypeError, f"{SIZE_RULE}, got (1, 2, 3)"),
        ({"mean": (1.0, 2.0)}, ValueError, "mean must be one number or three, got (1.0, 2.0)"),
        ({"mean": math.inf}, ValueError, "mean must be finite, got inf"),
        ({"mean": "0"}, TypeError, "mean must be one number or three, got '0'"),
        ({"std": 0.0}, ValueError, "std must be positive, got [0]"),
        ({"std": (1.0, -1.0, 1.0)}, ValueError, "std must be positive, got [1, -1, 1]"),
        ({"scale": 0}, ValueError, "scale must be positive and finite, got 0"),
        ({"scale": math.nan}, ValueError, "scale must be positive and finite, got nan"),
        ({"crop_scale": "2"}, TypeError, "crop_scale must be a number, got '2'"),
        (
            {"fit": "leterbox"},
            ValueError,
            "fit must be one of letterbox, crop (did you mean 'letterbox'?), got 'leterbox'",
        ),
        (
            {"heatmap_align": "centres"},
            ValueError,
            "heatmap_align must be one of corners, centers (did you mean 'centers'?), "
            "got 'centres'",
        ),
    ],
)
def test_wrong_parameters(values, error, message):
    with pytest.raises(error) as caught:
        ImageTransform(**values)
    assert str(caught.value) == message


def test_unknown_key():
    with pytest.raises(ValueError, match=r"key must be one of .*did you mean 'scale'") as caught:
        ImageTransform.from_json({"scal": 255})
    assert str(caught.value).endswith("got 'scal'")


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((5, 5, 0, 10), "box must have a width and a height above 0, got [5, 5, 0, 10]"),
        ((5, 5, 10, -1), "box must have a width and a height above 0, got [5, 5, 10, -1]"),
        ((5, math.nan, 10, 10), "box must be finite, got [5, nan, 10, 10]"),
        ((5, 5, math.inf, 10), "box must be finite, got [5, 5, inf, 10]"),
        ((100, 5, 10, 10), "box must overlap the image (100x80), got [100, 5, 10, 10]"),
        ((-10, 5, 10, 10), "box must overlap the image (100x80), got [-10, 5, 10, 10]"),
        ((5, 5, 10), "box must hold x, y, width, height, got [5, 5, 10]"),
    ],
)
@pytest.mark.parametrize("fit", ["letterbox", "crop"])
def test_wrong_boxes(fit, box, message):
    with pytest.raises(ValueError, match="box must") as caught:
        ImageTransform(fit=fit).place((100, 80), box)
    assert str(caught.value) == message


def test_a_crop_so_large_that_the_image_vanishes():
    with pytest.raises(ValueError, match="at least one pixel of the network input"):
        ImageTransform(fit="crop").place((10, 10), (0, 0, 1e6, 1e6))


# --- keypoints to heatmap pixels ----------------------------------------------------------------


@pytest.mark.parametrize("align", ["corners", "centers"])
def test_heatmap_pixels_are_where_torch_interpolates_from(align):
    """A heatmap that holds its own x and y, enlarged to the input, says where each pixel lies."""
    input_size, heatmap_size = (48, 30), (12, 10)
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
    enlarged = torch.nn.functional.interpolate(
        torch.stack([x, y])[None],
        size=input_size[::-1],
        mode="bilinear",
        align_corners=align == "corners",
    )[0]
    inside = 0 if align == "corners" else 2  # the borders are repeated
    rows, columns = torch.meshgrid(
        torch.arange(inside, 30 - inside), torch.arange(inside, 48 - inside), indexing="ij"
    )
    pixels = torch.stack([columns, rows], -1)
    found = to_heatmap_pixels(pixels.double(), input_size, heatmap_size, align=align)
    expected = enlarged[:, rows, columns].movedim(0, -1).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("align", ["corners", "centers"])
def test_heatmap_pixels_are_those_of_the_transform(align):
    transform = ImageTransform(input_size=(64, 96), heatmap_align=align)
    placement = transform.place((64, 96))
    keypoints = np.random.default_rng(0).uniform(-5, 100, (4, 3, 2))
    for heatmap_size in [(16, 24), (1, 24), (64, 96), (5, 7)]:
        np.testing.assert_allclose(
            to_heatmap_pixels(keypoints, (64, 96), heatmap_size, align=align),
            transform.image_to_heatmap(keypoints, heatmap_size, placement),
            rtol=1e-12,
            atol=1e-12,
        )


def test_corners_are_the_default_and_go_to_corners():
    corners = [[0, 0], [255, 0], [0, 191], [255, 191]]
    expected = [[0, 0], [63, 0], [0, 47], [63, 47]]
    np.testing.assert_allclose(to_heatmap_pixels(corners, (256, 192), (64, 48)), expected)
    edges = [[-0.5, -0.5], [255.5, 191.5]]
    expected = [[-0.5, -0.5], [63.5, 47.5]]
    np.testing.assert_allclose(
        to_heatmap_pixels(edges, (256, 192), (64, 48), align="centers"), expected
    )


@pytest.mark.parametrize("align", ["corners", "centers"])
def test_one_pixel_is_where_everything_goes_under_corners(align):
    found = to_heatmap_pixels([[7.5, 3.0], [0.0, 3.0]], (16, 4), (1, 4), align=align)
    assert np.isfinite(found).all()
    assert found[0, 0] == 0.0
    assert align == "centers" or found[1, 0] == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_keep_their_dtype_and_gradients_flow(dtype):
    keypoints = torch.tensor([[[4.0, math.nan], [8.0, 2.0]]], dtype=dtype, requires_grad=True)
    found = to_heatmap_pixels(keypoints, (9, 17), (5, 9))
    assert found.dtype == dtype
    expected = torch.tensor([[[2.0, math.nan], [4.0, 1.0]]], dtype=dtype)
    torch.testing.assert_close(found, expected, equal_nan=True)
    found[0, 1].sum().backward()
    assert torch.equal(keypoints.grad, torch.tensor([[[0, 0], [0.5, 0.5]]], dtype=dtype))
    meta = to_heatmap_pixels(keypoints.to("meta"), (9, 17), (5, 9))
    assert meta.is_meta


@pytest.mark.parametrize(
    "keypoints",
    [[[4, 8]], np.array([[4, 8]]), np.float32([[4, 8]]), ((4.0, 8.0),)],
    ids=["list", "integers", "float32", "tuple"],
)
def test_all_else_gives_float64_arrays(keypoints):
    found = to_heatmap_pixels(keypoints, (9, 17), (5, 9))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[2.0, 4.0]])


def test_tensors_of_integers_give_the_default_dtype():
    found = to_heatmap_pixels(torch.tensor([4, 8]), (9, 17), (5, 9))
    assert torch.equal(found, torch.tensor([2.0, 4.0]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"align": "corner"}, ValueError, "align must be one of corners, centers"),
        ({"align": None}, ValueError, "align must be one of corners, centers"),
        ({"input_size": (0, 4)}, ValueError, "input_size must be two whole numbers"),
        ({"heatmap_size": (4.5, 4)}, TypeError, "heatmap_size must be two whole numbers"),
        ({"heatmap_size": 4}, TypeError, "heatmap_size must be two whole numbers"),
        ({"keypoints": np.zeros((2, 3))}, ValueError, "keypoints must have a last axis of (x, y)"),
        ({"keypoints": torch.zeros(3)}, ValueError, "keypoints must have a last axis of (x, y)"),
        ({"keypoints": 3.0}, ValueError, "keypoints must have a last axis of (x, y)"),
    ],
)
def test_wrong_arguments_for_heatmap_pixels(arguments, error, message):
    good = {"keypoints": np.zeros((2, 2)), "input_size": (8, 8), "heatmap_size": (4, 4)}
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        to_heatmap_pixels(**{**good, **arguments})
