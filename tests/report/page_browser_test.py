"""The pages of tests/report/example, looked at in headless Chromium with the network cut off."""

import base64
import hashlib
import itertools
import os
import pathlib
import re
import shutil
import subprocess

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("ULLAGE", "build/release/bin/ullage")).resolve().parent.parent
EXAMPLE = BUILD / "tests/report/report_page_example"
KINDS = ["usual", "wide", "little", "ragged", "hostile"]
WIDE, PHONE = 1280, 360


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    if not EXAMPLE.is_file():
        pytest.skip(f"{EXAMPLE} is not built")
    folder = tmp_path_factory.mktemp("pages")
    for kind in KINDS:
        subprocess.run([EXAMPLE, kind, folder / f"{kind}.html"], check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, pages):
    """Opens a page; at the end no request but for the page itself was made and nothing was complained about."""
    contexts, requests, complaints = [], [], []

    def open_page(kind, width=WIDE, theme="light", fragment="", javascript=True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, offline=True, java_script_enabled=javascript
        )
        contexts.append(context)
        address = (pages / f"{kind}.html").as_uri()

        def route(one):
            requests.append(one.request.url)
            if one.request.url.split("#")[0] == address:
                one.continue_()
            else:
                one.abort()

        context.route("**/*", route)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address + fragment, timeout=120_000)  # a busy machine starts a browser slowly
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert len(requests) == len(contexts)


def column(page, number):
    return page.locator(f".data tbody td:nth-child({number})").all_inner_texts()


def numbers(texts):
    return [float(text.split()[0]) for text in texts if re.match(r"-?\d", text)]


@pytest.mark.parametrize("width, theme", [(WIDE, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("kind", KINDS)
def test_fits_its_window_and_no_labels_touch(visit, kind, width, theme):
    page = visit(kind, width, theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawings = page.evaluate("""() => [...document.querySelectorAll(".figure svg")].map((svg) =>
        [...svg.querySelectorAll("text:not(.heat-cell-text)")].map((text) => {
          const box = text.getBoundingClientRect();
          return [text.firstChild.data, box.left, box.top, box.right, box.bottom];
        }))""")
    assert sum(len(labels) for labels in drawings) > 40
    for labels in drawings:
        for (a, l1, t1, r1, b1), (b, l2, t2, r2, b2) in itertools.combinations(labels, 2):
            # Boxes are as high as the font's line; its letters leave a quarter of that free.
            apart = r1 <= l2 + 1 or r2 <= l1 + 1 or b1 <= t2 + 4 or b2 <= t1 + 4
            assert apart, f"{a!r} touches {b!r}"


def test_hostile_text_is_shown_and_does_nothing(visit):
    page = visit("hostile")
    page.locator(".heat-grid").focus()
    for key in ["ArrowRight", "ArrowDown", "Enter"]:
        page.keyboard.press(key)
    box = page.locator(".heat-grid").bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 30)
    page.locator(".plot").first.hover()
    page.locator(".data th button").first.click()
    page.locator(".data tbody tr").nth(2).click()
    assert page.evaluate("window.harmed") is None
    assert page.locator("img, iframe, object, embed, form, a").count() == 0
    assert page.locator("script").count() == 2
    text = page.locator("body").inner_text()
    assert "</script><script>window.harmed=1</script>" in text
    assert "<img src=x onerror='window.harmed=1'>" in text
    assert "\\u202eright to left" in text
    assert not re.search("[\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f]", page.content())


def test_policy_names_the_script_and_style_that_are_there(pages):
    text = (pages / "usual.html").read_bytes().decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    script = text[text.rindex("<script>") + 8 : text.rindex("</script>")]
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)[1]
    for kind, content in [("script", script), ("style", style)]:
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    data = re.search('id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert len(text) - len(data) < 150_000


def test_sorts_by_mouse_and_by_keyboard_with_missing_last(visit):
    page = visit("little")
    head = page.locator(".data th").nth(1)
    assert head.get_attribute("aria-sort") == "ascending"  # as the page asks
    values = numbers(column(page, 2))
    assert len(values) > 40 and values == sorted(values)
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert page.locator(".data tbody td:nth-child(2)").last.inner_text() != "-4.10"
    values = numbers(column(page, 2))
    assert values == sorted(values, reverse=True)
    other = page.locator(".data th").nth(0)
    other.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert other.get_attribute("aria-sort") == "ascending"
    names = column(page, 1)
    assert names[:4] == ["0.0", "0.1", "0.2", "0.3"] and names[10] == "0.10"  # numbers inside names count as numbers
    page.keyboard.press("Space")
    assert other.get_attribute("aria-sort") == "descending"
    assert column(page, 1)[0] == "5.11"
    head.locator("button").click()
    page.get_by_role("button", name="Next \u203a").click()
    texts = column(page, 2)
    # 72 rows on pages of 50: the three without a finite number end the second page.
    assert len(texts) == 22
    assert texts[-1].startswith("\u2013") and "not finite" in texts[-1]


def test_filters_rows(visit):
    page = visit("usual")
    page.get_by_role("searchbox").fill("unknown")
    assert len(column(page, 1)) == 2
    assert page.get_by_role("status").inner_text() == "2 of 1,024 rows"
    page.get_by_role("searchbox").fill("no such words")
    assert "No row" in page.locator(".data tbody").inner_text()
    page.get_by_role("searchbox").fill("")
    assert page.get_by_role("status").inner_text() == "1,024 rows"


def test_a_cell_chosen_by_keyboard_shows_in_all_linked_parts(visit):
    page = visit("usual")
    name = page.locator(".chooser .name")
    assert name.inner_text() == "block 0, unit 7"
    bars = page.locator("#figure-4 svg").first.get_attribute("aria-label")
    curve = page.locator("#figure-5 .plot path").first.get_attribute("d")
    grid = page.locator(".heat-grid")
    grid.focus()
    for key in ["ArrowDown"] * 3 + ["ArrowRight"] * 2 + ["ArrowLeft"]:
        page.keyboard.press(key)
    assert name.inner_text() == "block 0, unit 7"  # moving is not choosing
    assert (
        page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
        .get_attribute("aria-label")
        .startswith("block 3, unit 8: ")
    )
    assert page.locator("#figure-1 .read").inner_text().startswith("block 3, unit 8: ")
    page.keyboard.press("Enter")
    assert name.inner_text() == "block 3, unit 8"
    assert page.locator("#figure-4 svg").first.get_attribute("aria-label") != bars
    assert page.locator("#figure-5 .plot path").first.get_attribute("d") != curve
    chosen = page.locator('.data tr[aria-selected="true"]')
    assert chosen.count() == 1 and chosen.locator("td").first.inner_text() == "3.8"
    assert page.evaluate("location.hash") == "#3.8"
    page.keyboard.press("End")
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    assert name.inner_text() == "block 3, unit 0"


def test_a_cell_a_row_a_point_and_an_address_choose_too(visit):
    page = visit("little", fragment="#4.11")
    name = page.locator(".chooser .name")
    assert name.inner_text() == "block 4, unit 11"
    page.locator(".heat-grid").click(position={"x": 20, "y": 15})
    assert name.inner_text() == "block 0, unit 0"
    page.get_by_role("button", name="next", exact=True).click()
    assert name.inner_text() == "block 0, unit 1"
    row = page.locator(".data tbody tr").nth(5)
    row.locator("td").first.click()
    assert row.get_attribute("aria-selected") == "true"
    first, second = column(page, 1)[5:7]
    assert name.inner_text() == "block {}, unit {}".format(*first.split("."))
    page.keyboard.press("Tab")
    row.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert name.inner_text() == "block {}, unit {}".format(*second.split("."))
    cloud = page.locator("#figure-2 .plot")
    cloud.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert name.inner_text() != "block {}, unit {}".format(*second.split("."))


def test_absent_cells_are_skipped_and_missing_ones_explained(visit):
    page = visit("ragged")
    grid = page.locator(".heat-grid")
    grid.focus()
    # From block 0, unit 7: right to the end, then down past block 1, whose row is shorter.
    for key in ["End", "ArrowDown"]:
        page.keyboard.press(key)
    assert page.locator("#figure-1 .read").inner_text().startswith("block 2, unit 15: ")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert page.locator("#figure-1 .read").inner_text() == "block 2, unit 1: not known: infinite"
    # Nothing else on this page says which record is selected.
    assert page.locator(".which").all_inner_texts() == ["block 0, unit 7"] * 2
    page.keyboard.press("Enter")
    assert page.locator(".which").all_inner_texts() == ["block 2, unit 1"] * 2


def test_charts_read_out_switch_scale_and_hide_series(visit):
    page = visit("usual")
    figure = page.locator("#figure-0")
    plot = figure.locator(".plot")
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    tip = figure.locator(".tip")
    assert tip.is_visible() and re.match(
        r"block 1[56]\nlargest unit\t\d", tip.inner_text().replace("\n\t", "\n").lstrip()
    )
    place = tip.bounding_box()
    assert box["y"] - 40 < place["y"] < box["y"] + box["height"]
    page.mouse.move(5, 5)
    assert not tip.is_visible()
    plot.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert figure.locator("[aria-live]").last.inner_text().startswith("block 1: largest unit ")
    before = plot.text_content()
    figure.get_by_role("button", name="log").click()
    assert figure.get_by_role("button", name="log").get_attribute("aria-pressed") == "true"
    assert plot.text_content() != before
    lines = plot.locator("path[stroke-dasharray='2 3']").count()
    assert lines == 1
    figure.get_by_role("button", name="published").click()
    assert plot.locator("path[stroke-dasharray='2 3']").count() == 0


def test_heat_map_switches_its_values(visit):
    page = visit("little")
    cell = page.locator("#figure-1 [role=gridcell]").first
    before = cell.get_attribute("aria-label")
    page.locator("#figure-1").get_by_role("button", name="large").click()

    def value(text):
        return float(text.split(": ")[1].split(" ")[0])

    assert value(page.locator("#figure-1 [role=gridcell]").first.get_attribute("aria-label")) == pytest.approx(
        value(before) + 7, abs=0.01
    )


def luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_contrast_in_both_themes_and_the_button_changes_them(visit, theme):
    page = visit("usual", theme=theme)
    style = "(element, what) => getComputedStyle(element)[what]"

    def contrast(text, ground):
        a = luminance(page.locator(text).first.evaluate(style, "color"))
        b = luminance(page.locator(ground).first.evaluate(style, "backgroundColor"))
        return (max(a, b) + 0.05) / (min(a, b) + 0.05)

    for text, ground in [
        ("h1", "body"),
        (".subtitle", "body"),
        (".about", ".section"),
        (".card .label", ".card"),
        (".pill.bad", ".pill.bad"),
        (".pill.warn", ".pill.warn"),
        (".pill.good", ".pill.good"),
        (".data .bad", ".data td"),
        (".data th button", ".data th"),
    ]:
        assert contrast(text, ground) >= 4.5, text

    def is_dark():
        return luminance(page.locator("body").evaluate(style, "backgroundColor")) < 0.2

    def fill():
        return page.locator("#figure-1 [role=gridcell]").nth(100).get_attribute("fill")

    assert is_dark() == (theme == "dark")
    before = fill()
    page.locator("#theme").click()
    assert is_dark() == (theme != "dark")
    assert fill() != before


# Lightness alone must tell low from middle from high: for eyes that see no hue, and for printers.
def test_the_scale_of_colours_runs_one_way_on_each_side(visit):
    page = visit("usual")
    fills = (
        page.locator("#figure-1 .heat-legend svg")
        .first.locator("rect")
        .evaluate_all("all => all.map((one) => one.getAttribute('fill'))")
    )
    light = [luminance(fill) for fill in fills]
    brightest = light.index(max(light))
    assert 5 < brightest < len(light) - 5
    assert light[: brightest + 1] == sorted(light[: brightest + 1])
    assert light[brightest:] == sorted(light[brightest:], reverse=True)


def test_every_stop_of_the_tab_key_is_seen(visit):
    page = visit("little")
    seen = []
    for _ in range(24):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("""() => {
            const element = document.activeElement;
            const outlined = (one) => one && getComputedStyle(one).outlineStyle !== "none";
            return [element.tagName + "." + (element.getAttribute("class") || element.textContent.slice(0, 12)),
                    outlined(element) || outlined(element.closest(".scroll"))];
        }""")
        )
    assert all(outlined for _, outlined in seen), seen
    names = [name for name, _ in seen]
    assert "svg.plot" in names and "svg.heat-grid" in names and "INPUT.Filter" not in names


def test_without_javascript_the_summary_is_there(visit):
    page = visit("usual", javascript=False)
    text = page.locator("body").inner_text()
    for part in [
        "Room left in example-32",
        "-2.31 bits",
        "problem",
        "values that are not finite",
        "How to read this",
        "Room is the number of bits",
        "This part needs JavaScript.",
    ]:
        assert part in text


def test_prints_light_and_without_controls(visit):
    page = visit("usual", theme="dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.locator("#theme").is_visible()
    assert not page.locator(".switch").first.is_visible()
    assert luminance(page.locator("h1").evaluate("one => getComputedStyle(one).color")) < 0.1
