"""Pages in a real browser, for the tests of what a person finds in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needed = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs Debian's chromium and chromium-driver"
)
WAIT_S = 20


class Page:
    """A page in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get(path.resolve().as_uri())

    def run(self, script: str, *args: Any) -> Any:
        return self.driver.execute_script(script, *args)

    def find(self, css: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def wait(self, condition: Any) -> None:
        WebDriverWait(self.driver, WAIT_S, poll_frequency=0.02).until(lambda _: condition())

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> Any:
        return self.driver.switch_to.active_element

    def num_requests(self) -> int:
        return self.run("return performance.getEntriesByType('resource').length")

    def overflow(self) -> int:
        """How many pixels wider than the window the page is."""
        return self.run("return document.documentElement.scrollWidth - innerWidth")

    def contrast(self, css: str) -> float:
        """The contrast of the text of the first such element with the page's ground."""
        return self.run(
            """
            const light = (colour) => {
              const c = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
                .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
              return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
            };
            const ink = light(getComputedStyle(document.querySelector(arguments[0])).color);
            const ground = light(getComputedStyle(document.body).backgroundColor);
            return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
            """,
            css,
        )

    def load_axe(self) -> None:
        """Load axe-core into the page, or skip."""
        file = os.environ.get("VL4POSE_AXE")
        if not file:
            pytest.skip("needs axe-core: npm install axe-core, and VL4POSE_AXE=.../axe.min.js")
        self.run(Path(file).read_text(encoding="utf-8"))

    def violations(self, where: str = "document") -> list[str]:
        """What axe-core finds there."""
        found = self.driver.execute_async_script(
            f"const done = arguments[0]; axe.run({where}).then((r) => done(r.violations))"
        )
        return [f"{v['id']}: {node['html'][:200]}" for v in found for node in v["nodes"]]


def started(profile: Path) -> Iterator[Any]:
    """Start a browser, and yield what drives it."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()
