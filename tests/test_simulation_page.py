"""The page of a simulation in a real browser: what it shows, widths, darkness, accessibility."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("selenium.webdriver", reason="needs selenium")
pytest.importorskip("scipy")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

import browser
from made_records import made_records
from PIL import Image
from selenium.webdriver.common.keys import Keys

from vl4pose.simulation.outputs import write_outputs
from vl4pose.simulation.records import write_record

pytestmark = browser.needed
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    for driver in browser.started(tmp_path_factory.mktemp("chromium")):
        yield browser.Page(driver)


def written(folder: Path, titles: dict[str, str] | None = None, **options: object) -> Path:
    for record in made_records(**options):  # type: ignore[arg-type]
        write_record(folder, record)
    if titles is not None:
        skeleton = {"joints": ["head", "left_hand", "right_hand"]}
        plan = {
            "strategies": titles,
            "seeds": list(range(5)),
            "num_labels": [2000 + 1000 * i for i in range(5)],
            "baseline": "random",
            "config": {"training": {"epochs": 30}, "data": {"skeleton": skeleton}},
        }
        (folder / "simulation.json").write_text(json.dumps(plan))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (80, 300, 3), np.uint8)).save(folder / "picks.png")
    write_outputs(folder)
    return folder / "simulation.html"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    titles = {"random": "Random", "vl4pose": "VL4Pose", "core-set": "Core-Set"}
    return written(tmp_path_factory.mktemp("simulation") / "my-pool", titles)


def test_it_loads_without_a_complaint_or_a_request(page, made):
    page.open(made)
    assert page.complaints() == []
    assert page.num_requests() == 0
    assert page.find("header").text.startswith("Does it save labels?\nmy-pool: 3 strategies")
    assert "VL4Pose is better than Random" in page.find(".headline").text
    assert [one.text for one in page.all("h2")][:4] == [
        "Verdicts", "Curves", "Accuracy by cycle", "Against Random",
    ]  # fmt: skip
    assert page.run(
        "return [...document.images].every(i => i.complete && i.naturalWidth === 300 && i.alt)"
    )
    assert len(page.all("img")) == 1


def test_curves_and_tables_show_every_strategy(page, made):
    page.open(made)
    drawn = page.all("#curves .wide .chart")
    assert len(drawn) == 1
    assert drawn[0].is_displayed()
    names = page.run(
        "return [...document.querySelectorAll('#curves .wide text.name')].map(t => t.textContent)"
    )
    assert sorted(names) == ["Core-Set", "Random", "VL4Pose"]
    assert len(page.all("#curves .panels .chart")) == 2
    assert len(page.all("#curves .panels .band")) == 4
    heads = page.run(
        "return [...document.querySelector('#accuracy tbody').querySelectorAll('th')]"
        ".map(t => t.textContent.trim())"
    )
    assert heads == ["Random", "VL4Pose", "Core-Set"]
    points = page.run(
        "return [...document.querySelectorAll('#curves .wide g title')].map(t => t.textContent)"
    )
    assert len(points) == 15
    assert points[0].startswith("Random, 2,000 labels: 59.8 ± 0.")
    # The better curve is drawn above: y grows downwards.
    ends = page.run(
        "return [...document.querySelectorAll('#curves .wide path.curve')]"
        ".map(p => Number(p.getAttribute('d').split(' ').at(-1)))"
    )
    assert ends[1] < ends[0]


def test_joints_are_shown_when_they_are_asked_for(page, made):
    page.open(made)
    table = page.find("#accuracy details table")
    assert not table.is_displayed()
    page.find("#accuracy summary").click()
    assert table.is_displayed()
    first, *others, last = table.text.splitlines()
    assert first == "Joint Random VL4Pose Core-Set"
    assert [line.rsplit(" ", 3)[0] for line in others] == ["head", "left hand"]
    assert last == "right hand – – –"
    heads, hands = ([float(value) for value in line.split()[-3:]] for line in others)
    assert np.subtract(heads, hands) == pytest.approx([20] * 3, abs=0.11)


def test_parts_are_opened_and_tables_moved_with_the_keyboard(page, made):
    page.open(made, width=380)
    page.press(Keys.TAB)
    assert page.focused().text == "Skip to the verdicts"
    page.press(Keys.ENTER)
    assert page.run("return location.hash") == "#verdicts"
    page.press(Keys.TAB)
    assert page.focused().tag_name == "summary"
    assert not page.run("return document.querySelector('#verdicts details').open")
    page.press(Keys.ENTER)
    assert page.run("return document.querySelector('#verdicts details').open")
    region = page.find("#differences .scroll")
    assert region.get_attribute("tabindex") == "0"
    assert page.run("return arguments[0].scrollWidth > arguments[0].clientWidth", region)


def test_names_from_outside_become_no_element(page, tmp_path):
    path = written(tmp_path, {"random": "Random", "vl4pose": EVIL, "core-set": "</svg>" + EVIL})
    page.open(path)
    assert len(page.all("img")) == 1  # picks.png
    assert EVIL in page.find("#verdicts").text
    assert page.complaints() == []


@pytest.mark.parametrize("width", [1200, 700, 380, 320])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_and_keeps_its_contrast(page, made, width, dark):
    page.open(made, width=width, dark=dark)
    page.run("for (const part of document.querySelectorAll('details')) part.open = true")
    assert page.overflow() <= 0
    assert page.contrast("body") > 10
    assert page.contrast(".quiet") > 4.5
    for colour in range(2):
        assert page.contrast(f"text.strategy-{colour}") > 4.5
    shown = page.find("#curves .wide" if width > 832 else "#curves .narrow")
    assert shown.is_displayed()
    assert page.find("#curves .keys").is_displayed() == (width <= 832)
    small = page.run(
        "return Math.min(...[...document.querySelectorAll('.chart')].filter(c => c.clientWidth)"
        ".map(c => 12 * c.clientWidth / c.viewBox.baseVal.width))"
    )
    assert small > 9  # pixels of the smallest text


@pytest.mark.parametrize("colour", range(6))
def test_every_colour_is_read_on_both_grounds(page, made, colour):
    for dark in (False, True):
        page.open(made, dark=dark)
        page.run(
            "const p = document.createElement('p'); p.className = arguments[0]; p.id = 'sample';"
            "document.body.append(p)",
            f"strategy-{colour}",
        )
        assert page.contrast("#sample") > 4.5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(page, made, dark):
    page.open(made, dark=dark)
    page.load_axe()
    assert page.violations() == []
    page.run("for (const part of document.querySelectorAll('details')) part.open = true")
    assert page.violations() == []


def test_axe_finds_nothing_where_training_is_limited_by_steps(page, tmp_path):
    path = written(tmp_path, gain=0, effects={}, num_seeds=3)
    page.open(path)
    assert "limited by its steps, not by labels" in page.find(".note.warn").text
    page.load_axe()
    assert page.violations() == []
