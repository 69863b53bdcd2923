"""The page in a real browser: sorting, filtering, comparing, links, the keyboard, and contrast in light and dark."""

import re
import shutil

import pytest
from helpers.pages import page_of, write_runs

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]

# The least contrast of any text with what is behind it, and of what (WCAG 2.2, section 1.4.3).
CONTRAST = """() => {
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = (colours) => {
    for (const colour of colours) { pixel.fillStyle = colour; pixel.fillRect(0, 0, 1, 1); }
    return [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (colour) => {
    const linear = (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    const [red, green, blue] = colour.map((one) => linear(one / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  let least = [99, ""], count = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
    const style = getComputedStyle(element), behind = [];
    for (let part = element; part; part = part.parentElement) behind.unshift(getComputedStyle(part).backgroundColor);
    const ground = painted([getComputedStyle(document.body).backgroundColor, ...behind]);
    const ink = painted([element.closest("svg") ? style.fill : style.color]);
    const [high, low] = [light(ground), light(ink)].sort((one, other) => other - one);
    const ratio = (high + 0.05) / (low + 0.05);
    count += 1;
    if (ratio < least[0]) least = [ratio, `${element.tagName}.${element.className} ${walker.currentNode.data.trim()}`];
  }
  return [...least, count];
}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    page_of(write_runs(folder / "runs"), place=folder / "page.html")
    return (folder / "page.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture
def open_page(browser, file):
    """Open the page; at the end nothing was said on its console, and nothing asked of a network."""
    said, asked, opened = [], [], []

    def open_one(hash="", **options):
        page = browser.new_page(**options)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file + hash)
        opened.append(page)
        return page

    yield open_one
    for page in opened:
        page.close()
    assert (said, {one.partition("#")[0] for one in asked}) == ([], {file})


def column(page, name):
    """The visible cells of a column from top to bottom."""
    heads = [text.strip() for text in page.locator("#rows thead th").all_inner_texts()]
    place = next(place for place, head in enumerate(heads) if head.startswith(name))
    return page.locator(f"#rows tbody tr:not([hidden]) > :nth-child({place + 1})").all_inner_texts()


def heading(page, name):
    return page.locator("#rows thead th").filter(has_text=re.compile(rf"^{name}"))


def test_headings_sort(open_page):
    page = open_page()
    head = heading(page, "few")
    for order, sign in (("descending", -1), ("ascending", 1), ("descending", -1)):
        head.locator("button").click()
        numbers = [float(text.split()[0]) for text in column(page, "few")]
        assert numbers == sorted(numbers, key=lambda one, sign=sign: sign * one) and len(numbers) == 4
        assert head.get_attribute("aria-sort") == order
    heading(page, "method").locator("button").click()
    assert column(page, "method") == ["BCL", "CE", "CE", "SBCL"]
    assert page.locator('[aria-sort="ascending"]').count() == 1 and head.get_attribute("aria-sort") == "none"
    heading(page, "factor").locator("button").click()
    assert column(page, "factor") == ["20", "20", "20", "100"]


def test_rows_are_filtered(open_page):
    page = open_page()
    page.get_by_label("data set").select_option("digits_lt")
    page.get_by_label("stage two").select_option("CB")
    assert column(page, "method") == ["CE", "SBCL"] and page.locator("#count").inner_text() == "2 of 4 rows"
    page.get_by_label("with the words").fill("sbcl digits")
    assert column(page, "method") == ["SBCL"]
    page.get_by_label("with the words").fill("nothing of that")
    assert column(page, "method") == [] and page.locator("#count").inner_text() == "0 of 4 rows"
    page.get_by_role("button", name="Show all").click()
    assert len(column(page, "method")) == 4
    for name, chosen in (("factor", "100"), ("method", "BCL"), ("budget", "paper")):
        page.get_by_label(name, exact=True).select_option(chosen)
    assert column(page, "data set") == ["cifar100_lt"]


def test_links_open_what_they_lead_to(open_page):
    page = open_page()
    assert page.locator("details.row[open]").count() == 0
    page.get_by_role("link", name="SBCL / CB", exact=False).first.click()
    inside = page.locator("details.row[open]")
    assert inside.count() == 1 and inside.locator("h3").inner_text() == "SBCL / CB"
    assert inside.locator("svg").count() == 6 and page.evaluate("document.activeElement.id").startswith("row-")
    page = open_page("#run-s0-1")
    run = page.locator("#run-s0-1")
    assert run.is_visible() and run.inner_text() == "s0-1"
    run.locator("xpath=ancestor::tr").get_by_role("link", name="one1").click()
    assert page.locator("#run-one1").is_visible() and page.evaluate("document.activeElement.id") == "run-one1"


def test_two_rows_are_compared(open_page):
    page = open_page()
    page.get_by_role("link", name="CE / CB", exact=False).first.click()
    page.locator("details.row[open]").get_by_role("button", name="Compare this row").click()
    page.get_by_label("second row").select_option(label="SBCL / CB")
    compared = page.locator("#compared")
    assert "CE / CB less SBCL / CB, over 3 pairs of runs" in compared.inner_text()
    assert re.fullmatch(r"CE / CB less SBCL / CB in points: few .*; all .*\.", page.locator("#told").inner_text())
    rows = compared.locator("tbody tr").all_inner_texts()
    page.get_by_role("button", name="Swap").click()
    assert "SBCL / CB less CE / CB" in compared.inner_text()
    turned = str.maketrans("+−", "−+")
    for row, other in zip(rows, compared.locator("tbody tr").all_inner_texts(), strict=True):
        (_, mean, ends, _), (_, back, turned_ends, _) = row.split("\t"), other.split("\t")
        assert back == mean.translate(turned)
        assert turned_ends.split(" to ") == [end.translate(turned) for end in reversed(ends.split(" to "))]
    assert compared.locator("svg .mark").count() == 4 and compared.locator("svg .interval").count() == 4
    assert page.get_by_label("first row").locator("option").all_inner_texts() == ["CE / –", "CE / CB", "SBCL / CB"]


def test_everything_can_be_done_from_the_keyboard(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(30):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outline").endswith("solid 3px")
    heading(page, "many").locator("button").focus()
    page.keyboard.press("Enter")
    assert heading(page, "many").get_attribute("aria-sort") == "descending"
    page.locator("#rows tbody a").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details.row[open]").count() == 1


def test_colours_follow_the_system_until_somebody_chooses(open_page, scheme):
    page = open_page(color_scheme=scheme)
    switch = page.get_by_role("button", name="Dark colours")
    ground = "getComputedStyle(document.body).backgroundColor"
    before, pressed = page.evaluate(ground), switch.get_attribute("aria-pressed")
    assert pressed == ("true" if scheme == "dark" else "false")
    switch.click()
    assert page.evaluate(ground) != before and switch.get_attribute("aria-pressed") != pressed
    page.reload()
    assert page.evaluate(ground) != before and switch.get_attribute("aria-pressed") != pressed


def test_texts_stand_out_from_their_ground(open_page, scheme):
    page = open_page(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    ratio, where, count = page.evaluate(CONTRAST)
    assert ratio >= 4.5 and count > 500, where


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_is_wider_than_the_screen(open_page, width):
    page = open_page(viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
