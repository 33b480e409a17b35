"""The page of a report in a real browser: what it shows, the keyboard, hostile names, policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("selenium.webdriver", reason="needs selenium")
pytest.importorskip("pyarrow.parquet")
pytest.importorskip("PIL")

import browser
from made_scores import made_scores
from report_tables import (
    JOINT,
    LINK,
    data_of,
    selection_of,
    table_with_images,
    with_column,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from vl4pose import bone_drawing as drawing
from vl4pose.bone_scores import link_z_scores
from vl4pose.report import write_report

pytestmark = browser.needed
SELECTED = [30, 4, 12]


class Page(browser.Page):
    """The page of a report, and what a person finds in it."""

    def open(self, path: Path, **options: Any) -> None:
        super().open(path, **options)
        self.wait(lambda: self.find("#shown").text != "")

    def names(self) -> list[str]:
        return self.run(
            "return [...document.querySelectorAll('#table tbody th')].map(c => c.textContent)"
        )

    def column(self, head: str) -> list[str]:
        heads = [cell.text.rstrip(" ↑↓↕") for cell in self.all("#table thead th")]
        return self.run(
            "return [...document.querySelectorAll('#table tbody tr')]"
            ".map(r => r.children[arguments[0]].textContent)",
            heads.index(head),
        )

    def settle(self) -> None:
        """Wait until what was typed or chosen has reached the table."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )

    def choose(self, field: str, words: str) -> None:
        Select(self.find(f"#filter-{field}")).select_by_visible_text(words)
        self.settle()

    def type(self, field: str, text: str) -> None:
        box = self.find(f"#filter-{field}")
        box.clear()
        box.send_keys(text)
        self.settle()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    for driver in browser.started(tmp_path_factory.mktemp("chromium")):
        yield Page(driver)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table of 40 rows, of which one has failed, and its page, three rows selected."""
    folder = tmp_path_factory.mktemp("report")
    table = table_with_images(folder)
    status = [2 if i == 9 else None if i == 7 else 0 for i in range(40)]
    table = with_column(table, "status", status)
    write_report(folder / "r.html", table, selection_of(table, SELECTED), num_pictures=5)
    return table, folder / "r.html"


def z_of(table) -> np.ndarray:
    return link_z_scores(
        table.arrays("keypoints"),
        table.arrays("link_params"),
        table.skeleton,
        table.arrays("heatmap_scale"),
    )


def in_words(name: str) -> str:
    return name.replace("_", " ").replace(">", " to ")


def test_it_loads_without_a_complaint_a_request_or_a_shift(page, made):
    _, path = made
    page.open(path)
    assert page.complaints() == []
    assert page.run("return performance.getEntriesByType('resource').length") == 0
    shifts = page.driver.execute_async_script(
        "const done = arguments[0]; let sum = 0;"
        "new PerformanceObserver((list) => {"
        "  for (const entry of list.getEntries()) sum += entry.value;"
        "}).observe({ type: 'layout-shift', buffered: true });"
        "setTimeout(() => done(sum), 300);"
    )
    assert shifts == 0
    assert page.find("#lead strong").text == "scores"
    assert page.find("#counts").text.split("\n") == [
        "rows", "40", "scored", "38", "flagged", "1", "failed", "1", "selected", "3",
    ]  # fmt: skip
    bars = np.count_nonzero(data_of(path.read_text(encoding="utf-8"))["histogram"]["selected"])
    assert len(page.all("#distribution rect.bar-selected")) == bars + 1  # of the key
    pictures = page.all("#galleries img")
    assert page.run(
        "return [...arguments[0]].every(i => i.complete && i.naturalWidth === 48 && i.alt)",
        pictures,
    )
    assert len(pictures) == len(page.all("#galleries li")) == 13


def test_the_policy_refuses_scripts_pictures_and_requests(page, made):
    _, path = made
    page.open(path)
    refused = page.driver.execute_async_script(
        """
        const done = arguments[0];
        const broken = new Set();
        document.addEventListener("securitypolicyviolation", (e) =>
          broken.add(e.effectiveDirective));
        const attempt = (act) => { try { act(); } catch { broken.add("types"); } };
        const script = document.createElement("script");
        attempt(() => { script.text = "window.ran = 1"; document.body.append(script); });
        attempt(() => { document.body.innerHTML += "<b>"; });
        const image = new Image();
        image.src = "http://127.0.0.1:9/x.png";
        fetch("http://127.0.0.1:9/").catch(() => {});
        setTimeout(() => done([[...broken], window.ran ?? null]), 300);
        """
    )
    assert refused[1] is None
    assert {"types", "img-src", "connect-src"} <= set(refused[0])


def test_each_head_sorts_both_ways_and_what_is_missing_is_last(page, made):
    table, path = made
    page.open(path)
    assert page.column("Rank")[:4] == ["1", "2", "3", "–"]
    names = np.array(table.rows["image"].to_pylist())
    z, entropy = np.abs(z_of(table)), table.arrays("entropy")
    keys = {
        "Score": (table.numbers("score"), False),
        "Its z, by size": (z.max(1), True),
        "Its log-likelihood": (
            table.arrays("per_link")[range(40), np.nan_to_num(z).argmax(1)],
            False,
        ),
        "Its entropy": (entropy.max(1), True),
        "Entropy of all": (table.numbers("multi_peak_entropy"), True),
    }
    for head, (values, descending_first) in keys.items():
        [button] = [b for b in page.all("#table thead button") if b.text.startswith(head)]
        cell = button.find_element(By.XPATH, "..")
        for descending in (descending_first, not descending_first):
            button.click()
            order = np.argsort(-values if descending else values, kind="stable")
            assert page.names() == names[order].tolist(), head
            assert cell.get_attribute("aria-sort") == ("descending" if descending else "ascending")
            assert len(page.all("#table [aria-sort]")) == 1
    page.wait(lambda: "sorted by entropy of all, ascending" in page.find("#shown").text)


def test_filters_leave_what_they_say(page, made):
    table, path = made
    page.open(path)
    names = np.array(table.rows["image"].to_pylist())
    z, scores, entropy = np.abs(z_of(table)), table.numbers("score"), table.arrays("entropy")
    link, joint = (
        in_words(table.skeleton.link_names[LINK]),
        in_words(table.skeleton.joints[JOINT]),
    )

    def check(expected: np.ndarray) -> None:
        assert 0 < expected.sum() < 40
        assert sorted(page.names()) == sorted(names[expected])
        wanted = f"{expected.sum()} of 40 rows"
        page.wait(lambda: page.find("#shown").text.startswith(wanted))

    def clear() -> None:
        page.find("#filters [type=reset]").click()
        page.settle()
        assert len(page.names()) == 40

    page.type("text", "03")
    check(np.char.find(names, "03") >= 0)
    clear()
    page.type("minZ", "4")
    check(np.nan_to_num(z).max(1) >= 4)
    page.choose("link", link)
    check(z[:, LINK] >= 4)
    assert set(page.column("Bone")) == {link}
    clear()
    page.choose("joint", joint)
    page.type("minEntropy", "1.2")
    check(entropy[:, JOINT] >= 1.2)
    shown = [float(text) for text in page.column("Its entropy")]
    np.testing.assert_allclose(
        sorted(shown), np.sort(entropy[entropy[:, JOINT] >= 1.2, JOINT]), atol=0.006
    )
    clear()
    page.choose("joint", joint)
    page.find("#filter-movedOnly").click()
    page.settle()
    check(table.arrays("peak_index")[:, JOINT] > 0)
    clear()
    low, high = np.nanpercentile(scores, [20, 60]).round(2)
    page.type("low", str(low))
    page.type("high", str(high))
    check((scores >= low) & (scores <= high))
    clear()
    for words, row in (("failed", 7), ("flagged", 9), ("flagged: link parameters clamped", 9)):
        page.choose("status", words)
        check(np.arange(40) == row)
    assert page.column("Status") == ["link parameters clamped"]
    clear()
    page.choose("selected", "selected")
    check(np.isin(np.arange(40), SELECTED))
    page.type("text", "no such name")
    assert page.find("#table tbody").text == "No row passes the filters."


def test_an_image_is_opened_and_a_joint_looked_at_with_the_keyboard_alone(page, made):
    table, path = made
    page.open(path)
    reached = []
    for _ in range(30):
        page.press(Keys.TAB)
        reached.append(page.focused().get_attribute("id") or page.focused().get_attribute("class"))
        if reached[-1] == "card":
            break
    assert reached[0] == "skip"
    assert reached[-4:-1] == ["draw-raw", "draw-refined", "draw-expected"]
    card = page.focused()
    assert page.run("return getComputedStyle(arguments[0]).outlineStyle", card) != "none"
    page.press(Keys.ENTER)
    dialog = page.find("#person")
    assert dialog.get_attribute("open")
    assert page.find("#person-title").text == f"{SELECTED[0]:03d}.png"
    assert page.focused() == page.find("#person-title")
    assert "Reason number 0." in dialog.text
    assert "no heatmaps" in dialog.text
    for _ in range(20):
        page.press(Keys.TAB)
        if page.focused().get_attribute("id") == "person-joint":
            break
    page.press(Keys.ARROW_DOWN)
    page.press(Keys.ARROW_DOWN)
    joint = 1
    peaks = table.rows["peaks"][SELECTED[0]].as_py()[joint]
    rows = page.all("#person .picture tbody tr")
    assert len(rows) == len(page.all("#person circle.peak")) == len(peaks) > 1
    for row, (x, y, weight, posterior) in zip(rows, peaks, strict=True):
        numbers = [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        expected = [f"{x:.1f}", f"{y:.1f}", f"{100 * weight:.1f} %", f"{100 * posterior:.1f} %"]
        for number, wanted in zip(numbers, expected, strict=True):
            assert float(number.split()[0]) == pytest.approx(float(wanted.split()[0]), abs=0.11)
    status = page.find("#person [role=status]").text
    assert status.startswith(f"{len(peaks)} peaks of neck; the refined pose has number ")
    page.press(Keys.ESCAPE)
    assert not dialog.get_attribute("open")
    assert page.focused() == card


def test_the_dialog_steps_through_its_list_and_stops_at_its_ends(page, made):
    _, path = made
    page.open(path)
    page.find("#gallery-selected + ul button").click()
    buttons = {button.text: button for button in page.all("#person .bar-top button")}
    seen = [page.find("#person-title").text]
    for _ in range(3):
        buttons["Next"].click()
        seen.append(page.find("#person-title").text)
    assert seen == ["030.png", "004.png", "012.png", "012.png"]
    assert buttons["Next"].get_attribute("aria-disabled") == "true"
    buttons["Close"].click()
    # From the table, what it shows, in its order; also rows that have no picture or have failed.
    page.choose("status", "failed")
    page.find("#table tbody button").click()
    assert page.find("#person-title").text == "007.png"
    assert "failed: cannot be read" in page.find("#person").text
    assert page.complaints() == []


def test_bones_have_the_colours_of_their_z_scores(page, made):
    table, path = made
    page.open(path)
    page.find("#gallery-least + ul button").click()
    row = int(page.find("#person-title").text[:3])
    strokes = page.run(
        "return [...document.querySelectorAll('#person .raw path.bone')]"
        ".map(p => p.getAttribute('stroke'))"
    )
    expected = [drawing.Z_COLOURS[i] for i in drawing.z_class(z_of(table)[row])]
    assert strokes == expected
    assert len(set(expected)) > 2
    marks = page.run("return document.querySelectorAll('#person .raw .expected').length")
    assert marks == table.skeleton.num_links


def test_joints_are_where_they_are_in_the_picture(page, tmp_path):
    """Of a person in a box, of whose image a part is shown, made smaller."""
    table = table_with_images(tmp_path, 1, failed=(), scale=(30.0, 20.0))  # 480 x 320
    joints = table.arrays("keypoints")[0].copy()
    joints = 300 + (joints - joints.min(0)) / np.ptp(joints, axis=0) * [90, 15]  # 300...390
    joints[:, 1] -= 150
    table = with_column(table, "keypoints", [joints.tolist()])
    table = with_column(table, "refined_keypoints", [joints.tolist()])
    table = with_column(table, "box", [[310.0, 140.0, 40.0, 40.0]])
    write_report(tmp_path / "r.html", table, max_image_size=64)
    page.open(tmp_path / "r.html")
    drawn = page.run(
        """
        const image = document.querySelector("#gallery-least + ul img");
        const frame = image.getBoundingClientRect();
        const scale = Math.min(
          frame.width / image.naturalWidth, frame.height / image.naturalHeight);
        const corner = [
          frame.x + (frame.width - scale * image.naturalWidth) / 2,
          frame.y + (frame.height - scale * image.naturalHeight) / 2,
        ];
        const path = image.parentElement.querySelector(".raw .joint");
        const matrix = path.getScreenCTM();
        const joints = path.getAttribute("d").slice(1).split("M").map((d) => d.split("h")[0]);
        return joints.map((d) => {
          const [x, y] = d.split(" ").map(Number);
          const at = new DOMPoint(x, y).matrixTransform(matrix);
          return [(at.x - corner[0]) / scale, (at.y - corner[1]) / scale];
        });
        """
    )
    [picture] = data_of((tmp_path / "r.html").read_text(encoding="utf-8"))["pictures"].values()
    x, y, width, height = picture["part"]
    assert width < 240
    image = page.find("#galleries img")
    sides = page.run("return [arguments[0].naturalWidth, arguments[0].naturalHeight]", image)
    size = np.array(sides)
    assert size.max() == 64
    # From the corner of the part, in pixels of the picture.
    expected = (joints + 0.5 - [x, y]) * size / [width, height]
    np.testing.assert_allclose(drawn, expected, atol=1.0)


def test_what_is_drawn_can_be_chosen(page, made):
    _, path = made
    page.open(path)

    def number_seen(css: str) -> int:
        return page.run(
            """
            const seen = (node) =>
              !node || (getComputedStyle(node).display !== "none" && seen(node.parentElement));
            return [...document.querySelectorAll(arguments[0])].filter(seen).length;
            """,
            f"#gallery-least + ul li:first-child {css}",
        )

    for box, css in (("expected", ".marks path"), ("raw", ".raw .bone")):
        assert number_seen(css) > 0
        page.find(f"#draw-{box}").click()
        assert number_seen(css) == 0
    # Without the raw pose, the refined one is all there, with the bones that the two share.
    assert number_seen(".refined .bone") == 13
    page.find("#draw-refined").click()
    assert number_seen(".refined .bone") == 0


EVIL = (
    """<img src=x onerror="document.title='broken'">'\"><script>document.title='broken'</script>"""
)
FOREIGN = """
return [...document.querySelectorAll("script:not([id=data]), img, iframe, object, b")].filter(
  (e) => !(e.localName === "img" && e.src.startsWith("data:image/jpeg;"))).length
"""


def test_hostile_names_and_messages_are_text(page, tmp_path):
    evil = [f"{EVIL}&amp;{i}" for i in range(12)]
    table = table_with_images(tmp_path, 12, failed=())
    table = with_column(table, "person_id", evil)
    table = with_column(table, "error", [EVIL if i == 3 else None for i in range(12)])
    chosen = selection_of(table, [1, 3])
    chosen = with_column(chosen, "reasons", [EVIL, EVIL])
    chosen = with_column(chosen, "swap_suspects", [[{"pair": EVIL, "gain": 3.0}]] * 2)
    skeleton = table.skeleton.to_json()
    for joint in (0, 1):
        old = skeleton["joints"][joint]
        new = f"<img src=x onerror=alert({joint}) "  # the names of joints hold no >
        skeleton["joints"][joint] = new
        skeleton["links"] = [
            [new if name == old else name for name in link] for link in skeleton["links"]
        ]
    table.metadata["skeleton"] = chosen.metadata["skeleton"] = skeleton
    write_report(tmp_path / "r.html", table, chosen, name=EVIL)
    page.open(tmp_path / "r.html")
    assert page.run(FOREIGN) == 1  # the page's own script
    assert page.driver.title.startswith(EVIL)
    assert page.find("#lead strong").text == EVIL
    assert f"001.png #{evil[1]}" in page.names()
    for button in page.all("#table tbody button.open")[:4]:
        page.run("arguments[0].click()", button)
        assert page.find("#person-title").text.endswith(tuple(evil))
        page.run("document.getElementById('person').close()")
    page.find("#gallery-selected + ul button").click()
    assert EVIL in page.find("#person").text
    assert page.run(FOREIGN) == 1
    assert page.complaints() == []


def test_ten_thousand_rows(page, tmp_path):
    table = made_scores(100, embedding_size=None)
    rng = np.random.default_rng(0)
    table = table.take(rng.integers(0, 100, 10_000))
    scores = rng.permutation(10_000) / 100 - 200
    table = with_column(table, "score", scores.astype(np.float32).tolist())
    table = with_column(table, "image", [f"{i:05d}.jpg" for i in range(10_000)])
    write_report(tmp_path / "r.html", table, num_pictures=2)
    page.open(tmp_path / "r.html")
    order = np.argsort(scores)
    assert page.find("#shown").text == "10,000 rows, sorted by score, ascending"
    assert page.names() == [f"{row:05d}.jpg" for row in order[:100]]
    buttons = {button.text: button for button in page.all("#pager button")}
    assert buttons["First"].get_attribute("aria-disabled") == "true"
    buttons["Previous"].click()
    assert page.names()[0] == f"{order[0]:05d}.jpg"
    buttons["Next"].click()
    assert page.names() == [f"{row:05d}.jpg" for row in order[100:200]]
    buttons["Last"].click()
    assert page.names() == [f"{row:05d}.jpg" for row in order[-100:]]
    assert buttons["Next"].get_attribute("aria-disabled") == "true"
    buttons["Next"].click()
    assert page.names()[-1] == f"{order[-1]:05d}.jpg"
    page.type("low", "-150")
    page.wait(lambda: page.find("#shown").text.startswith("5,000 of 10,000 rows"))
    assert page.names()[0] == f"{order[5000]:05d}.jpg"
    assert page.complaints() == []


def test_a_part_of_a_table_and_missing_pictures_are_said(page, tmp_path):
    table = made_scores(60, embedding_size=None)
    write_report(tmp_path / "r.html", table, num_pictures=2, num_rows=20)
    page.open(tmp_path / "r.html")
    assert page.find("#rows .note").text.startswith("The page holds 20 of 60 rows")
    assert "No picture: the image cannot be read: no such file" in page.find("#galleries").text
    assert page.all("#galleries .bone")  # the pose is drawn all the same
    assert page.complaints() == []


@pytest.mark.parametrize("width", [1200, 400, 320])  # the last is 640 at 200 %
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_and_keeps_its_contrast(page, made, width, dark):
    _, path = made
    page.open(path, width=width, dark=dark)

    assert page.overflow() <= 0
    page.find("#gallery-least + ul button").click()
    assert page.overflow() <= 0
    wide = page.run(
        "const d = document.getElementById('person'); return d.scrollWidth - d.clientWidth"
    )
    assert wide <= 0
    assert page.contrast("body") > 10
    assert page.contrast(".quiet") > 4.5
    assert page.contrast("#table tbody button") > 4.5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(page, made, dark):
    _, path = made
    page.open(path, dark=dark)
    page.load_axe()
    assert page.violations("document") == []
    page.find("#gallery-least + ul button").click()
    Select(page.find("#person-joint")).select_by_index(2)
    assert page.violations("'#person'") == []
