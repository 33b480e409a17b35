"""Reports: what the page holds of a table, its pictures and heatmaps, and the command."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("typer")
pq = pytest.importorskip("pyarrow.parquet")

import pyarrow as pa  # noqa: E402
from PIL import Image  # noqa: E402
from report_tables import data_of, selection_of, table_with_images, with_column  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

import vl4pose  # noqa: E402
from vl4pose.bone_scores import link_z_scores  # noqa: E402
from vl4pose.cli.app import app  # noqa: E402
from vl4pose.image_transform import ImageTransform  # noqa: E402
from vl4pose.report import write_report  # noqa: E402
from vl4pose.report.pictures import shown_part  # noqa: E402
from vl4pose.score_table import METADATA_KEY, ScoreTable, read_scores  # noqa: E402


def report(table: ScoreTable, tmp_path, *args, **options):
    out = tmp_path / "report.html"
    summary = write_report(out, table, *args, **options)
    page = out.read_text(encoding="utf-8")
    assert summary.num_bytes == len(page.encode())
    return summary, data_of(page), page


def unpacked(text: str, dtype: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def image_of(uri: str) -> Image.Image:
    kind, _, content = uri.partition(";base64,")
    assert kind in ("data:image/jpeg", "data:image/png")
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.fixture
def table(tmp_path) -> ScoreTable:
    folder = tmp_path / "images"
    folder.mkdir()
    return table_with_images(folder)


# --- rows -------------------------------------------------------------------------------------


def test_the_page_holds_every_row_of_the_table(table, tmp_path):
    _, data, _ = report(table, tmp_path)
    rows = data["rows"]
    assert rows["image"] == table.rows["image"].to_pylist()
    assert rows["error"] == table.rows["error"].to_pylist()
    scores = [np.nan if score is None else score for score in rows["score"]]
    np.testing.assert_allclose(scores, table.numbers("score"), rtol=1e-5)
    z = link_z_scores(
        table.arrays("keypoints"),
        table.arrays("link_params"),
        table.skeleton,
        table.arrays("heatmap_scale"),
    )
    np.testing.assert_array_equal(unpacked(rows["z"], "<f4", 40, 13), z.astype(np.float32))
    for name, column in (("logLikelihood", "per_link"), ("entropy", "entropy")):
        values = table.arrays(column)
        np.testing.assert_array_equal(unpacked(rows[name], "<f4", *values.shape), values)
    keypoints = unpacked(rows["refined"], "<i2", 40, 14, 2).astype(float)
    assert (keypoints[7] == -32768).all()  # failed
    keypoints[7] = np.nan
    np.testing.assert_allclose(keypoints, table.arrays("refined_keypoints"), atol=0.5)
    assert data["counts"] == {"rows": 40, "scored": 39, "flagged": 0, "failed": 1, "selected": 0}
    assert sum(data["histogram"]["counts"]) == 39
    assert "selected" not in rows


def test_the_least_and_the_most_likely_are_pictured_and_none_twice(table, tmp_path):
    summary, data, _ = report(table, tmp_path, num_pictures=5)
    order = np.argsort(table.numbers("score")).tolist()[:39]
    assert data["galleries"] == {"selected": [], "least": order[:5], "most": order[::-1][:5]}
    assert summary.num_pictures == 10
    assert summary.missing == []
    pictures = data["pictures"]
    assert sorted(map(int, pictures)) == sorted(order[:5] + order[-5:])
    for row, picture in pictures.items():
        assert picture["part"] == [0, 0, 48, 32]
        assert image_of(picture["src"]).size == (48, 32)
        peaks = table.rows["peaks"][int(row)].as_py()
        assert [len(joint) for joint in picture["peaks"]] == [len(joint) for joint in peaks]
        np.testing.assert_allclose(picture["peaks"][0][0], peaks[0][0], rtol=0.01, atol=0.05)
        exact = table.arrays("keypoints")[int(row)]
        np.testing.assert_allclose(picture["points"], exact, atol=0.051)
        assert len(picture["marks"]) == len(picture["refinedMarks"]) == 13
    _, data, _ = report(table, tmp_path, num_pictures=100)
    assert data["galleries"]["least"] == order[:20]
    assert data["galleries"]["most"] == order[::-1][:19]


def test_a_selection_is_marked_in_its_order(table, tmp_path):
    _, data, _ = report(table, tmp_path, selection_of(table, [30, 4, 12]), num_pictures=2)
    assert data["counts"]["selected"] == 3
    assert data["galleries"]["selected"] == [30, 4, 12]
    rows = data["rows"]
    assert [row for row in range(40) if rows["selected"][row]] == [4, 12, 30]
    assert [rows["rank"][row] for row in (30, 4, 12, 0)] == [1, 2, 3, None]
    assert rows["reasons"][4] == "Reason number 1."
    assert rows["worst_links"][4] == [{"link": "head>neck", "log_likelihood": -9.5, "z": -4.25}]
    assert data["pictures"]["4"]["alt"].startswith("Reason number 1.")
    others = [row for row in np.argsort(table.numbers("score"))[:39] if row not in (30, 4, 12)]
    assert data["galleries"]["least"] == others[:2]
    assert data["galleries"]["most"] == others[::-1][:2]
    assert sum(data["histogram"]["selected"]) == 3


def test_a_selection_alone_is_a_table_too(table, tmp_path):
    _, data, _ = report(selection_of(table, [30, 4]), tmp_path)
    assert data["counts"] == {"rows": 2, "scored": 2, "flagged": 0, "failed": 0, "selected": 2}
    assert data["galleries"]["selected"] == [0, 1]


def test_people_of_one_image_are_told_apart_and_strangers_refused(table, tmp_path):
    same = with_column(table, "image", ["000.png"] * 40)
    people = with_column(same, "person_id", [str(i // 2) for i in range(40)])
    _, data, _ = report(people, tmp_path, selection_of(people, [4, 5, 20]))
    # The second of two that have the same number is the second in the table.
    assert data["galleries"]["selected"] == [4, 5, 20]
    other = selection_of(with_column(people, "person_id", ["x"] * 40), [4])
    with pytest.raises(ValueError, match=r"selection must hold rows .* got '000.png #x'"):
        report(people, tmp_path, other)


def test_a_large_table_is_cut_to_what_matters_most(table, tmp_path):
    selection = selection_of(table, [30, 4])
    _, data, _ = report(table, tmp_path, selection, num_pictures=2, num_rows=12)
    assert data["counts"]["rows"] == 40
    assert sum(data["histogram"]["counts"]) == 39
    order = np.argsort(table.numbers("score")).tolist()[:39]
    order = [row for row in order if row not in (30, 4)]
    names = data["rows"]["image"]
    kept = [int(name[:3]) for name in names]
    assert kept == sorted(kept)
    assert len(kept) == 12
    assert set(kept) == {30, 4, *order[-2:], *order[:8]}
    # What refers to rows refers to them in the page.
    assert [names[row] for row in data["galleries"]["selected"]] == ["030.png", "004.png"]
    assert [names[row] for row in data["galleries"]["least"]] == [f"{r:03d}.png" for r in order[:2]]


def test_what_does_not_exist_is_null_and_no_nan(table, tmp_path):
    """As of a row whose link parameters are not finite."""
    row = int(np.argsort(table.numbers("score"))[0])

    def without(column, value=None):
        values = table.rows[column].to_pylist()
        values[row] = value
        return with_column(table, column, values)

    for column in ("refined_keypoints", "peak_index", "link_params", "score", "per_link"):
        table = without(column)
    table = without("status", 4)
    peaks = table.rows["peaks"][row].as_py()
    table = without("peaks", [[[*peak[:3], float("nan")] for peak in joint] for joint in peaks])
    selection = selection_of(table, [row])
    unknown = [{"link": "head>neck", "log_likelihood": float("nan"), "z": None}]
    selection = with_column(selection, "worst_links", [unknown])
    _, data, _ = report(table, tmp_path, selection)
    assert data["counts"]["flagged"] == 1
    picture = data["pictures"][str(row)]
    assert "src" in picture
    assert "marks" not in picture
    assert picture["alt"] == "Reason number 0."
    assert picture["peaks"][0][0][3] is None
    assert data["rows"]["worst_links"][row] == [
        {"link": "head>neck", "log_likelihood": None, "z": None}
    ]
    assert data["rows"]["score"][row] is None


def test_a_skeleton_without_a_link_has_a_page_too(table, tmp_path):
    for column in (
        "keypoints",
        "refined_keypoints",
        "entropy",
        "confidence",
        "peak_index",
        "peaks",
    ):
        values = [value and value[:1] for value in table.rows[column].to_pylist()]
        table = with_column(table, column, values)
    for column in ("per_link", "link_params"):
        table = with_column(table, column, [[]] * 40)
    skeleton = vl4pose.Skeleton("dot", ["dot"], []).to_json()
    table = replace(table, metadata={**table.metadata, "skeleton": skeleton})
    _, data, _ = report(table, tmp_path)
    assert data["skeleton"]["links"] == []
    assert data["rows"]["z"] == ""
    row = str(data["galleries"]["least"][0])
    assert data["pictures"][row]["marks"] == []
    assert data["pictures"][row]["alt"].startswith("No bone has a known length.")


def test_without_pictures_and_without_rows_there_is_a_page_all_the_same(table, tmp_path):
    summary, data, _ = report(table, tmp_path, num_pictures=0)
    assert summary.num_pictures == 0
    assert data["pictures"] == {}
    summary, data, _ = report(selection_of(table, [1]).take([]), tmp_path)
    assert summary.num_rows == 0
    assert data["histogram"] is None
    assert report(table, tmp_path, selection_of(table, []))[1]["counts"]["selected"] == 0


def test_a_table_without_any_score_has_a_page_that_says_so(tmp_path):
    (tmp_path / "images").mkdir()
    table = table_with_images(tmp_path / "images", 3, failed=(0, 1, 2))
    summary, data, _ = report(table, tmp_path, selection_of(table, [1]))
    assert data["histogram"] is None
    assert data["counts"]["failed"] == 3
    assert summary.missing == [("001.png", "cannot be read")]


# --- pictures ---------------------------------------------------------------------------------


def test_images_that_are_gone_damaged_or_changed_have_their_reason(table, tmp_path):
    order = np.argsort(table.numbers("score")).tolist()[:6]
    images = tmp_path / "images"
    gone, empty, text, other_size, inside, fine = order
    (images / f"{gone:03d}.png").unlink()
    (images / f"{empty:03d}.png").write_bytes(b"")
    (images / f"{text:03d}.png").write_text("no image")
    Image.new("RGB", (10, 20)).save(images / f"{other_size:03d}.png")
    names = table.rows["image"].to_pylist()
    names[inside] = "../report.html"
    table = with_column(table, "image", names)
    summary, data, _ = report(table, tmp_path, num_pictures=6)
    pictures = data["pictures"]
    assert [pictures[str(row)].get("missing") for row in order] == [
        "the image cannot be read: no such file or directory",
        "the image cannot be read: the file is empty",
        "the image cannot be read: not an image, or of an unknown format",
        "the image is 10x20 pixels now, and was 48x32 when it was scored",
        "the image's name leads out of the folder of images",
        None,
    ]
    assert len(summary.missing) == 5
    assert summary.num_pictures == 7
    assert "src" in pictures[str(fine)]
    assert pictures[str(gone)]["peaks"]  # what the table knows is there all the same


def test_images_may_be_elsewhere_now(table, tmp_path):
    (tmp_path / "images").rename(tmp_path / "moved")
    assert report(table, tmp_path)[0].num_pictures == 0
    assert report(table, tmp_path, images=tmp_path / "moved")[0].num_pictures == 39
    nowhere = replace(table, metadata={**table.metadata, "source": {"root": "nope://x/y"}})
    summary, _, _ = report(nowhere, tmp_path)
    assert summary.missing[0][1].startswith("URL must be of a protocol that fsspec knows")


def test_images_may_be_at_a_url(table, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.put(str(tmp_path / "images"), "/report-images", recursive=True)
    summary, data, _ = report(table, tmp_path, images="memory://report-images", num_pictures=2)
    assert summary.num_pictures == 4
    summary, here, _ = report(table, tmp_path, num_pictures=2)
    assert data["pictures"] == here["pictures"]


def test_pictures_are_no_larger_than_asked(table, tmp_path):
    _, data, _ = report(table, tmp_path, max_image_size=20)
    sizes = {image_of(picture["src"]).size for picture in data["pictures"].values()}
    assert sizes == {(20, 13)}


def test_of_a_large_image_the_person_is_shown():
    pose = np.array([[100.0, 60.0], [140.0, 100.0], [np.nan, np.nan]])
    assert shown_part((1000, 500), None, [pose]) == (0, 0, 1000, 500)
    x, y, width, height = shown_part((1000, 500), [105.0, 50.0, 20.0, 30.0], [pose])
    assert x <= 100 - 7
    assert y <= 50 - 7
    assert x + width >= 140 + 7
    assert y + height >= 100 + 7
    assert width < 80
    assert shown_part((150, 110), [0.0, 0.0, 140.0, 100.0], [pose]) == (0, 0, 150, 110)
    beyond = np.array([[-50.0, -20.0], [2000.0, 700.0]])
    assert shown_part((1000, 500), [10.0, 10.0, 5.0, 5.0], [beyond]) == (0, 0, 1000, 500)


# --- heatmaps ---------------------------------------------------------------------------------


class BrightnessNet(torch.nn.Module):
    """Two joints: where an image is bright, and where it is dark."""

    def forward(self, images):
        if bool((images.mean([1, 2, 3]) > 0.6).any()):
            raise RuntimeError("too bright")
        grey = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)
        return torch.cat([grey, -grey], 1)


@pytest.fixture
def scored(tmp_path):
    """A table of six images of a bright dot by `vl4pose score`, and the network."""
    rng = np.random.default_rng(3)
    (tmp_path / "dots").mkdir()
    for i in range(6):
        pixels = np.full((80, 120), 20, np.uint8)
        x, y = rng.integers(10, 60, 2)
        pixels[y : y + 8, x : x + 8] = 250
        Image.fromarray(pixels).save(tmp_path / "dots" / f"{i}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(BrightnessNet()), tmp_path / "pose.pt")
    skeleton = vl4pose.Skeleton("pair", ["light", "dark"], [("light", "dark")])
    skeleton.to_file(tmp_path / "pair.json")
    vl4pose.save_params(tmp_path / "bones.json", [[5.0, 2.0]], skeleton)
    invoke(
        "score", tmp_path / "dots", "--pose", tmp_path / "pose.pt", "--trust",
        "--params", tmp_path / "bones.json", "--skeleton", tmp_path / "pair.json",
        "--input-size", "64x64", "--out", tmp_path / "scores.parquet",
    )  # fmt: skip
    return tmp_path


def invoke(*args, code: int = 0):
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    result = runner.invoke(app, list(map(str, args)))
    assert result.exit_code == code, result.output
    return result


def test_heatmaps_are_those_that_were_scored(scored):
    out = scored / "report.html"
    result = invoke(
        "report", scored / "scores.parquet", "--out", out, "--pose", scored / "pose.pt", "--trust"
    )
    assert "6 of 6 rows, 6 pictures, heatmaps of 6 people" in result.output
    data = data_of(out.read_text(encoding="utf-8"))
    table = read_scores(scored / "scores.parquet")
    for row in range(6):
        picture = data["pictures"][str(row)]
        sheet = np.asarray(image_of(picture["heatmaps"]))
        assert sheet.shape == (16, 32)
        assert sheet.min() == 0
        assert sheet.max() == 255
        x, y, width, height = picture["heatmapPlace"]
        for joint in range(2):
            of_joint = sheet[:, 16 * joint : 16 * joint + 16]
            keypoint = table.arrays("keypoints")[row, joint] + 0.5  # from the image's corner
            column = int((keypoint[0] - x) / width * 16)
            line = int((keypoint[1] - y) / height * 16)
            assert of_joint[line, column] == 255
        placement = ImageTransform(input_size=(64, 64)).place((120, 80))
        corner = ImageTransform(input_size=(64, 64)).heatmap_to_image(
            [-0.5, -0.5], (16, 16), placement
        )
        np.testing.assert_allclose([x, y], corner + 0.5, atol=0.01)


def test_heatmaps_of_an_image_that_has_changed_are_said_to_be_others(scored):
    Image.new("RGB", (120, 80), (90, 90, 90)).save(scored / "dots" / "2.png")
    result = invoke(
        "report", scored / "scores.parquet", "--out", scored / "r.html",
        "--pose", scored / "pose.pt", "--trust",
    )  # fmt: skip
    assert "heatmaps that are not those that were scored: 1, of 2.png\n" in result.output
    pictures = data_of((scored / "r.html").read_text(encoding="utf-8"))["pictures"]
    assert [row for row in pictures if pictures[row].get("changed")] == ["2"]


def test_a_network_that_fails_is_one_sentence(scored):
    Image.new("RGB", (120, 80), (255, 255, 255)).save(scored / "dots" / "2.png")
    result = invoke(
        "report", scored / "scores.parquet", "--out", scored / "r.html",
        "--pose", scored / "pose.pt", "--trust", code=1,
    )  # fmt: skip
    why = "Error: the pose network fails on the pictured images: RuntimeError: too bright\n"
    assert why in result.output
    assert not (scored / "r.html").exists()


def test_heatmaps_without_a_finite_value_and_large_ones_have_a_picture():
    from vl4pose.report.heatmap_sheets import _sheet

    maps = np.stack([np.full((256, 128), np.nan), np.eye(256, 128), np.ones((256, 128))])
    sheet = np.asarray(image_of(_sheet(maps)))
    assert sheet.shape == (86, 3 * 43)
    assert sheet[:, :43].max() == 0
    assert sheet[:, 43:86].max() > 50
    assert sheet[:, 86:].max() == 0


def test_another_network_than_the_one_that_was_scored_is_refused(scored):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        net = torch.nn.Sequential(BrightnessNet())
        torch.jit.save(torch.jit.script(net), scored / "other.pt")
    args = ("report", scored / "scores.parquet", "--out", scored / "r.html", "--pose")
    result = invoke(*args, scored / "other.pt", "--trust", code=2)
    assert "--pose must be the network that SCORES come from, 'pose.pt'" in result.output
    result = invoke(*args, scored / "pose.pt", code=2)
    assert "--trust must be given" in result.output
    assert not (scored / "r.html").exists()


# --- the file ---------------------------------------------------------------------------------


def test_names_stay_data_and_nothing_in_the_page_is_fetched(table, tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>.png"
    table = with_column(table, "person_id", [evil] * 40)
    _, data, page = report(table, tmp_path, name="<b>&amp;</b>")
    assert data["rows"]["person"] == [evil] * 40
    assert page.count("</script>") == 2
    assert evil not in page
    assert "<title>&lt;b&gt;&amp;amp;&lt;/b&gt;" in page
    outside = re.sub(r"http://www\.w3\.org/2000/svg", "", page)
    assert not re.search(r"https?://|@import|url\((?!#)", outside)


def test_the_policy_allows_the_script_and_the_style_by_their_hashes_only(table, tmp_path):
    _, _, page = report(table, tmp_path)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert 'style="' not in page.replace(policy, "")
    assert not re.search(r"<[^>]* on\w+=", page.split('<script type="application/json"')[0])


def test_the_script_makes_no_markup_of_text(table, tmp_path):
    _, _, page = report(table, tmp_path)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert danger not in script


def test_the_report_needs_no_torch_unless_heatmaps_are_asked_for(table, tmp_path):
    write(table, tmp_path / "scores.parquet")
    code = (
        "import sys; from vl4pose.report import write_report; "
        "from vl4pose.score_table import read_scores; "
        "write_report('r.html', read_scores('scores.parquet')); "
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert (tmp_path / "r.html").stat().st_size > 20_000


# --- the command ------------------------------------------------------------------------------


def write(table: ScoreTable, path) -> None:
    schema = table.rows.schema.with_metadata({METADATA_KEY: json.dumps(table.metadata)})
    pq.write_table(pa.Table.from_arrays(table.rows.columns, schema=schema), path)


def test_the_command_says_what_the_page_holds(table, tmp_path):
    write(table, tmp_path / "scores.parquet")
    write(selection_of(table, [3, 5]), tmp_path / "selection.parquet")
    (tmp_path / "images" / "003.png").unlink()
    out = tmp_path / "r.html"
    result = invoke(
        "report", tmp_path / "scores.parquet", "--selection", tmp_path / "selection.parquet",
        "--num-pictures", "3", "--out", out,
    )  # fmt: skip
    assert "40 of 40 rows" in result.output
    assert (
        "1 without a picture: the image cannot be read: no such file or directory\n  003.png\n"
        in (result.output)
    )
    assert re.search(r"written to .*r\.html \(0\.\d MB\)", result.output)
    assert data_of(out.read_text(encoding="utf-8"))["galleries"]["selected"] == [3, 5]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["scores.parquet", "--out", "r.htm"], "--out must end in .html, got 'r.htm'"),
        (["score.parquet", "--out", "r.html"], "(did you mean 'scores.parquet'?)"),
        (["notes.txt", "--out", "r.html"], "SCORES must be a table of vl4pose score"),
        (["scores.parquet", "--out", "r.html", "--selection", "x"], "--selection must exist"),
        (["scores.parquet", "--out", "r.html", "--selection", "other.parquet"],
         "--selection must be scored as the table of scores was, got another skeleton: 'mpii' "
         "there, 'lsp' in the table of scores"),
        (["scores.parquet", "--out", "r.html", "--selection", "strangers.parquet"],
         "--selection must hold rows of the table of scores, got '000.png #s', which is not in it"),
        (["scores.parquet", "--out", "r.html", "--selection", "scores.parquet"],
         "--selection must be a table of vl4pose select, got one without ranks"),
        (["scores.parquet", "--out", "r.html", "--selection", "hotter.parquet"],
         "--selection must be scored as the table of scores was, got another temperature: 5.0 "
         "there, 1.0 in the table of scores"),
        (["scores.parquet", "--out", "r.html", "--images", "x"],
         "--images must be a folder, got 'x'"),
        (["scores.parquet", "--out", "r.html", "--images", "nope://x"],
         "--images: URL must be of a protocol that fsspec knows"),
        (["scores.parquet", "--out", "r.html", "--num-pictures", "-1"],
         "--num-pictures must be at least 0, got -1"),
        (["scores.parquet", "--out", "r.html", "--max-image-size", "4"],
         "--max-image-size must be between 16 and 8192, got 4"),
        (["scores.parquet", "--out", "r.html", "--pose", "x.pt", "--trust"], "--pose must exist"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(table, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    write(table, tmp_path / "scores.parquet")
    mpii = vl4pose.get_skeleton("mpii").to_json()
    other = replace(table, metadata={**table.metadata, "skeleton": mpii})
    write(selection_of(other, [0, 1]), tmp_path / "other.parquet")
    strangers = with_column(table, "person_id", ["s"] * 40)
    write(selection_of(strangers, [0, 1]), tmp_path / "strangers.parquet")
    settings = table.metadata["settings"]
    settings = {**settings, "scoring": {**settings["scoring"], "temperature": 5.0}}
    hotter = replace(table, metadata={**table.metadata, "settings": settings})
    write(selection_of(hotter, [0, 1]), tmp_path / "hotter.parquet")
    (tmp_path / "notes.txt").write_text("no table")
    result = invoke("report", *args, code=2)
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "r.html").exists()
