"""The report in a browser: silent console, drawn plots, readable on a desk and on a phone, light and dark."""

import shutil

import pytest

pytest.importorskip("matplotlib", reason="the report needs the training extra: pip install -e '.[training]'")
pytest.importorskip("playwright", reason="browser tests need playwright: pip install playwright")

from playwright.sync_api import sync_playwright

from pointsman.classifier.commands import main

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium")
WIDTHS = pytest.mark.parametrize("width", [1280, 390])
MEASURE_CONTRAST = """
() => {
  const channel = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = rgb => rgb.match(/[\\d.]+/g).slice(0, 3).map(Number).map(channel)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const style = getComputedStyle(document.body);
  const [a, b] = [light(style.color), light(style.backgroundColor)].sort((x, y) => y - x);
  return (a + .05) / (b + .05);
}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory, tiny_bundle, labelled_file):
    path = tmp_path_factory.mktemp("report") / "report.html"
    command = ["report", "--data", str(labelled_file), "--bundle", str(tiny_bundle), "--draws", "20"]
    main([*command, "--output", str(path)])
    return path


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, report):
    """Open the report at a width; the page remembers what the console said and what was requested."""
    pages = []

    def open_at(width, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(report.as_uri())
        pages.append(page)
        return page

    yield open_at
    for page in pages:
        page.close()


@WIDTHS
def test_console_is_silent_and_nothing_else_is_asked_for(opened, report, width):
    page = opened(width)
    assert page.said == []
    assert page.asked == [report.as_uri()]


@WIDTHS
def test_page_is_not_wider_than_the_window(opened, width):
    assert opened(width).evaluate("document.documentElement.scrollWidth") <= width


@WIDTHS
def test_plots_are_drawn_within_the_page(opened, width):
    boxes = [plot.bounding_box() for plot in opened(width).locator("svg.plot").all()]
    assert len(boxes) == 7
    assert all(box["height"] > 100 and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)


def test_text_in_plots_is_legible_on_a_phone(opened):
    heights = opened(390).eval_on_selector_all(
        "svg.plot text", "texts => texts.filter(t => t.textContent.trim()).map(t => t.getBoundingClientRect().height)"
    )
    assert min(heights) >= 8


@WIDTHS
def test_wide_tables_scroll_inside_their_frame(opened, width):
    page = opened(width)
    overflow = page.eval_on_selector_all(
        "table", "tables => tables.map(t => getComputedStyle(t.parentElement).overflowX)"
    )
    assert set(overflow) == {"auto"}


@WIDTHS
def test_text_of_tables_is_at_least_twelve_pixels(opened, width):
    sizes = opened(width).eval_on_selector_all(
        "td:not(.digest)", "cells => cells.map(c => getComputedStyle(c).fontSize)"
    )
    assert min(float(size.removesuffix("px")) for size in sizes) >= 12


def test_routers_are_sorted_by_care(opened):
    scores = opened(1280).eval_on_selector_all(
        "#standings td[data-auc]", "cells => cells.map(c => Number(c.dataset.auc))"
    )
    assert len(scores) >= 4
    assert scores == sorted(scores, reverse=True)


def test_labels_are_sorted_by_rows(opened):
    rows = opened(1280).eval_on_selector_all(
        "table.labels",
        "tables => tables.map(t => [...t.querySelectorAll('tbody td:nth-child(2)')].map(c => +c.innerText))",
    )
    assert len(rows) == 4
    assert all(counts == sorted(counts, reverse=True) for counts in rows)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_page(opened, scheme):
    assert opened(390, scheme).evaluate(MEASURE_CONTRAST) >= 7


def test_dark_page_has_dark_paper_and_light_plots(opened):
    light, dark = (opened(1280, scheme) for scheme in ("light", "dark"))
    ink = "getComputedStyle(document.querySelector('svg.plot text')).fill"
    assert light.evaluate(ink) != dark.evaluate(ink)


def test_sections_are_reached_from_the_top(opened):
    page = opened(390)
    missing = page.eval_on_selector_all(
        "nav a", "links => links.filter(a => !document.querySelector(a.getAttribute('href'))).map(a => a.href)"
    )
    assert page.locator("nav a").count() == 6
    assert missing == []
