"""A headless browser opens the page: silent, whole, and within its width."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paramdiff.paper.paper_sweep import PAPER
from paramdiff.recipe.schema import load_recipe, to_yaml
from paramdiff.runs.sweep import redraw_sweep
from paramdiff.storage import write_json, write_text

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
support = pytest.importorskip("selenium.webdriver.support.ui", reason="selenium is not installed")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="Chromium is not installed"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = selenium.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(str(DRIVER))
    driver = selenium.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def report(drawn: Path) -> str:
    return drawn.as_uri()


@pytest.mark.parametrize("width", [1280, 390])
def test_page_in_a_browser(browser: Any, report: str, width: int):
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(report)
    page = browser.execute_script
    assert page("return innerWidth") == width
    assert page("return document.documentElement.scrollWidth") <= width
    assert page("return document.images.length") == 14
    assert page("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page("return [...document.images].every(i => i.alt.length > 20)")
    fetched = page("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [address for address in fetched if not address.startswith("data:")] == []
    assert browser.get_log("browser") == []


def test_first_screen_holds_verdict_and_key_numbers(browser: Any, report: str):
    screen = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(report)
    bottom = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom"
    for part in (".verdict", ".warnings", ".cards"):
        assert browser.execute_script(bottom, part) <= 800


def test_print_unfolds_what_is_folded(browser: Any, report: str):
    browser.get(report)
    seen = "return document.querySelector('details p.says').checkVisibility({"
    seen += "contentVisibilityAuto: true, visibilityProperty: true})"
    assert not browser.execute_script(seen)
    try:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        support.WebDriverWait(browser, 20).until(lambda page: page.execute_script(seen))
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.fixture(scope="module")
def sweep_page(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sweep's page with tables and figures of the paper, drawn from one set of numbers."""
    folder = tmp_path_factory.mktemp("sweep")
    for name in ("main/cifar100_resnet18", "ablation/noise_0000a00", "ablation/numberckpt_010"):
        write_text(folder / name / "recipe.yaml", to_yaml(load_recipe(name)))
        for file in ("evaluation.json", "arrays.safetensors"):
            shutil.copy(drawn.parent / file, folder / name / file)
    requested = ["table1", "table7", "table13", "figure5b"]
    write_json(folder / "sweep.json", {"schema": 2, "rows": [], "requested": requested})
    return redraw_sweep(folder, PAPER).as_uri()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_papers_tables_and_figures_in_a_browser(browser: Any, sweep_page: str, width: int):
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 700}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(sweep_page)
    page = browser.execute_script
    assert page("return document.documentElement.scrollWidth") <= width
    shown = page("return [...document.querySelectorAll('div.paper-table')].map(e => e.id)")
    assert {"table1", "table3a", "table13", "figure5a", "figure5c"} <= set(shown)
    assert page("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert browser.get_log("browser") == []
