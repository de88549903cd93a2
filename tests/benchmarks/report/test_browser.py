"""The page in headless Chromium: it opens, every control works, nothing is loaded, nothing from data is run."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time

import pytest

from benchmarks.formats import read_table, write_table
from benchmarks.report.page import report_html, write_report
from benchmarks.report.study import Study

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
]

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--force-prefers-reduced-motion", "--window-size=1300,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium with its console and network logged."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


FIGURES = ("brombacher_2", "multivi_2.bmmc_multiome")
"""Two of the papers' figures, one of them a part of one."""


@pytest.fixture(scope="module")
def report(fictitious_study, fictitious_metrics, tmp_path_factory):
    """Address of the report of the fictitious study, with two small figures."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("report") / "study with figures"
    shutil.copytree(fictitious_study, folder)
    (folder / "figures").mkdir()
    for number, name in enumerate(FIGURES):
        Image.new("RGB", (900, 300), ("#0072b2", "#e69f00")[number]).save(folder / "figures" / f"{name}.png")
    write_report(folder, folder / "report.html", fictitious_metrics)
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(browser, report):
    """The report, freshly opened; afterwards the console has to be empty and the network silent."""
    drain(browser)
    browser.get(report)
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    yield browser
    messages, requests = drain(browser)
    assert messages == []
    assert requests == [report]


def drain(browser) -> tuple[list, list]:
    """Console messages and requested addresses since the last call (our own saved table and empty icon apart)."""
    messages = [entry["message"] for entry in browser.get_log("browser")]
    requests = []
    for entry in browser.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        if event["method"] == "Network.requestWillBeSent":
            requests.append(event["params"]["request"]["url"])
    return messages, [url for url in requests if not url.startswith(("data:", "blob:", "chrome:", "about:"))]


def column(page, number: int) -> list[str]:
    """Texts of one column of the overview's contestants."""
    return page.execute_script(
        "return [...document.querySelectorAll('#overview tbody:not(.controls-body) tr')].map(row => row.children[arguments[0]].querySelector('.v')?.firstChild.textContent ?? row.children[arguments[0]].textContent)",
        number,
    )


def set_option(page, section: str, name: str, index: int) -> str:
    """Choose an option as a user does; its text."""
    from selenium.webdriver.support.ui import Select

    select = Select(page.find_element("css selector", f"#{section} select[name={name}]"))
    select.select_by_index(index)
    return page.find_element("css selector", f"#{section} select[name={name}] option:checked").text


def test_navigation_reaches_every_section(page):
    links = page.find_elements("css selector", "nav a")
    assert [link.text for link in links] == [
        "Study",
        "Overview",
        "Ranking",
        "Variance",
        "Curves",
        "Advice",
        "Figures",
        "Claims",
        "Embeddings",
        "Cost",
        "Failures",
        "Provenance",
    ]
    for link in links:
        link.click()
        key = link.get_attribute("href").split("#")[1]
        deadline = time.monotonic() + 5
        while (
            page.execute_script("return document.querySelector('nav [aria-current]')?.hash") != f"#{key}"
            and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        assert page.execute_script("return document.querySelector('nav [aria-current]').hash") == f"#{key}"
        top = page.execute_script("return document.getElementById(arguments[0]).getBoundingClientRect().top", key)
        assert top < 450


def test_sorting_with_the_mouse_and_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    def numbers(texts):
        return [float(text.replace("\u2212", "-")) for text in texts if text[0] in "0123456789\u2212"]

    button = page.find_element("css selector", "#overview th[data-column='0'] button")
    assert "NMI" in button.text
    button.click()
    values = numbers(column(page, 1))
    assert len(values) >= 5 and values == sorted(values, reverse=True)
    assert column(page, 1)[-1] == "n/a"
    assert page.find_element("css selector", "#overview th[data-column='0']").get_attribute("aria-sort") == "descending"
    # The focus stays on the head, so that Enter turns the order round.
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert numbers(column(page, 1)) == sorted(values)
    assert column(page, 1)[-1] == "n/a"
    assert page.find_element("css selector", "#overview th[data-column='0']").get_attribute("aria-sort") == "ascending"
    page.switch_to.active_element.send_keys(Keys.SPACE)
    assert numbers(column(page, 1)) == values
    page.find_element("css selector", "#overview th[data-column=label] button").click()
    names = [text.replace("flagged", "") for text in column(page, 0)]
    assert names == sorted(names)


def test_a_lower_is_better_metric_sorts_its_best_first(page):
    head = next(
        item for item in page.find_elements("css selector", "#overview th[data-column]") if "Rank distance" in item.text
    )
    place = int(page.execute_script("return [...arguments[0].parentNode.children].indexOf(arguments[0])", head))
    head.find_element("css selector", "button").click()
    values = [float(text) for text in column(page, place) if text[0].isdigit()]
    assert len(values) >= 5 and values == sorted(values)


def test_selectors_change_the_numbers_and_move_together(page):
    before = column(page, 1)
    assert set_option(page, "overview", "dataset", 1) == "snare_mouse_cortex"
    assert column(page, 1) != before
    chosen = page.execute_script(
        "return [...document.querySelectorAll('select[name=dataset]')].map(item => item.selectedOptions[0].textContent)"
    )
    assert len(chosen) == 6 and set(chosen) == {"snare_mouse_cortex"}
    set_option(page, "ranking", "fraction", 2)
    assert (
        "failed" in page.find_element("css selector", "#ranking table").text
        or "missing" in page.find_element("css selector", "#ranking table").text
    )
    set_option(page, "cost", "cells", 0)
    assert page.find_element("css selector", "#overview select[name=cells] option:checked").text == "500"
    set_option(page, "overview", "group", 1)
    assert len(page.find_elements("css selector", "#overview thead .group")) == 1
    set_option(page, "overview", "show", 1)
    assert page.find_element("css selector", "#overview .controls-body tr:first-child .v").text


def test_every_option_of_every_selector_draws(page):
    total = page.execute_script("return document.querySelectorAll('select').length")
    assert total >= 14
    for section in ("overview", "ranking", "variance", "curves", "advice", "embeddings", "cost"):
        names = page.execute_script(
            "return [...document.querySelectorAll('#' + arguments[0] + ' select')].map(item => item.name)", section
        )
        for name in names:
            count = page.execute_script(
                "return document.querySelector(`#${arguments[0]} select[name=${arguments[1]}]`)?.options.length ?? 0",
                section,
                name,
            )
            for index in range(count):
                page.execute_script(
                    "const s = document.querySelector(`#${arguments[0]} select[name=${arguments[1]}]`); s.selectedIndex = arguments[2]; s.dispatchEvent(new Event('change'))",
                    section, name, index,
                )  # fmt: skip
    assert page.execute_script("return document.querySelectorAll('#curves svg path').length") > 10


def test_details_of_a_score_by_keyboard(page):
    page.execute_script("document.querySelector('#overview tbody td').focus()")
    text = page.find_element("css selector", "#overview [data-detail]").text
    assert "95 % interval" in text and "replicates" in text and "scaled" in text
    failed = page.find_element("css selector", "#overview td[data-state='not applicable']")
    page.execute_script("arguments[0].focus()", failed)
    assert "takes paired cells only" in page.find_element("css selector", "#overview [data-detail]").text


def test_one_score_is_reached_by_tab_and_the_others_by_arrows(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def place():
        return page.execute_script(
            "const cell = document.activeElement, rows = [...document.querySelectorAll('#overview tbody tr')];"
            "return cell.tagName === 'TD' ? [rows.indexOf(cell.parentNode), [...cell.parentNode.querySelectorAll('td')].indexOf(cell)] : null"
        )

    def press(*keys):
        page.switch_to.active_element.send_keys(*keys)
        return place()

    rows, columns, reached, role = page.execute_script(
        "const rows = [...document.querySelectorAll('#overview tbody tr')], cells = [...document.querySelectorAll('#overview tbody td')];"
        "return [rows.length, rows[0].querySelectorAll('td').length, cells.filter(cell => cell.tabIndex === 0).length,"
        " document.querySelector('#overview table').getAttribute('role')]"
    )
    assert rows > 5 and columns > 3 and reached == 1 and role == "grid"
    # From the last head, the next stop is the one score; the one after it is out of the table.
    page.execute_script("[...document.querySelectorAll('#overview thead button')].at(-1).focus()")
    assert press(Keys.TAB) == [0, 0]
    assert press(Keys.ARROW_RIGHT) == [0, 1] and press(Keys.ARROW_DOWN) == [1, 1]
    assert press(Keys.END) == [1, columns - 1] and press(Keys.ARROW_RIGHT) == [1, columns - 1]
    assert press(Keys.HOME) == [1, 0] and press(Keys.ARROW_LEFT) == [1, 0] and press(Keys.ARROW_UP) == [0, 0]
    assert press(Keys.CONTROL, Keys.END) == [rows - 1, columns - 1] and press(Keys.ARROW_DOWN) == [
        rows - 1,
        columns - 1,
    ]
    assert press(Keys.CONTROL, Keys.HOME) == [0, 0] and press(Keys.ARROW_DOWN) == [1, 0]
    for key in (Keys.ENTER, Keys.SPACE):
        page.execute_script("document.querySelector('#overview [data-detail]').textContent = ''")
        assert press(key) == [1, 0]
        label = page.execute_script(
            "return document.activeElement.parentNode.querySelector('th').firstChild.textContent"
        )
        assert page.find_element("css selector", "#overview [data-detail]").text.startswith(f"{label}, ")
    assert press(Keys.TAB) is None
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    assert place() == [1, 0], "Tab comes back to where one was"


def test_the_table_is_reached_by_tab_alone(page):
    from selenium.webdriver.common.keys import Keys

    seen = set()
    page.find_element("css selector", "body").send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Skip to the content"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    for _ in range(12):
        page.switch_to.active_element.send_keys(Keys.TAB)
        seen.add(page.switch_to.active_element.tag_name)
    assert {"select", "button"} <= seen


def test_curves_hide_and_show_a_model(page):
    def lines():
        return page.execute_script(
            "return document.querySelectorAll('#curves .chart:first-of-type svg g > path[stroke]').length"
        )

    before = lines()
    page.execute_script("document.querySelector('#curves .legend button').click()")
    assert page.find_element("css selector", "#curves .legend button").get_attribute("aria-pressed") == "false"
    assert lines() < before
    page.execute_script("document.querySelector('#curves .legend button').click()")
    assert lines() == before


def test_a_point_with_some_flagged_runs_has_a_ring_and_one_with_flagged_runs_alone_is_left_out(
    browser, fictitious_study, fictitious_metrics, tmp_path
):
    """At the largest of three sizes one of five runs of scmm is flagged."""
    points = (
        "const line = [...document.querySelectorAll('#curves .chart:first-of-type svg > g')].find(g => g.querySelector('title').textContent === 'scmm');"
        "return [line.querySelectorAll(':scope > g').length, line.querySelectorAll('.ring').length]"
    )

    def shown(folder):
        write_report(folder, tmp_path / "report.html", fictitious_metrics)
        browser.get((tmp_path / "report.html").as_uri())
        return browser.execute_script(points)

    assert shown(fictitious_study) == [3, 1]
    assert "A ring marks a mean" in browser.find_element("css selector", "#curves").text
    shutil.copytree(fictitious_study, tmp_path / "all")
    runs = read_table(fictitious_study / "runs.parquet")
    runs.loc[(runs["model"] == "scmm") & (runs["n_cells"] == 2000) & (runs["status"] == "ok"), "collapsed"] = True
    write_table(tmp_path / "all" / "runs.parquet", runs)
    assert shown(tmp_path / "all") == [2, 0]
    assert drain(browser)[0] == []


def test_pictures_of_some_observations_say_of_how_many(browser, fictitious_study, fictitious_metrics, tmp_path):
    shutil.copytree(fictitious_study, tmp_path / "study")
    where = "return document.querySelector('#embeddings .where').textContent"
    for total, said in ((600, False), (2000, True)):
        umaps = read_table(fictitious_study / "umaps.parquet").assign(n_observations=total)
        write_table(tmp_path / "study" / "umaps.parquet", umaps)
        write_report(tmp_path / "study", tmp_path / "report.html", fictitious_metrics)
        browser.get((tmp_path / "report.html").as_uri())
        assert ("600 of 2,000 observations" in browser.execute_script(where)) is said
    drain(browser)


def test_pictures_are_painted_and_highlighted(page):
    def ink():
        return page.execute_script(
            "const from = document.querySelector('#embeddings canvas'), c = document.createElement('canvas'); c.width = from.width; c.height = from.height; const g = c.getContext('2d', {willReadFrequently: true}); g.drawImage(from, 0, 0); const d = g.getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 0; i < d.length; i += 4) if (Math.max(d[i], d[i+1], d[i+2]) - Math.min(d[i], d[i+1], d[i+2]) > 40) n += 1; return n"
        )

    assert page.execute_script("return document.querySelectorAll('#embeddings canvas').length") >= 8
    all_types = ink()
    assert all_types > 500
    page.execute_script("document.querySelector('#embeddings .legend button').click()")
    assert 0 < ink() < all_types / 3


def test_names_from_data_are_text(page):
    legend = page.find_element("css selector", "#embeddings .legend").text
    for name in (
        "<script>alert(1)</script>",
        "$(touch x)",
        "../../x",
        "</script><img src=x onerror=alert(2)>",
        "T cell & 'NK' \"cell\"",
    ):
        assert name in legend
    assert "<b>each</b>" in page.find_element("css selector", "#failures").text
    assert "<script>alert(3)</script>" in page.find_element("css selector", "#provenance").text
    assert page.execute_script(
        "return [document.scripts.length, document.querySelectorAll('img, iframe, object, embed').length]"
    ) == [2, len(FIGURES)]
    from selenium.common.exceptions import NoAlertPresentException

    with pytest.raises(NoAlertPresentException):
        page.switch_to.alert  # noqa: B018


def test_saving_the_table(page):
    page.execute_script(
        "window.saved = []; URL.createObjectURL = (blob) => { blob.text().then((text) => saved.push(text)); return '#overview'; }"
    )
    page.find_element("css selector", "#overview button[name=download]").click()
    deadline = time.monotonic() + 5
    while not page.execute_script("return saved.length") and time.monotonic() < deadline:
        time.sleep(0.05)
    lines = page.execute_script("return saved[0]").splitlines()
    assert (
        lines[0].split("\t")[:3] == ["model", "metric", "mean"] and len({len(line.split("\t")) for line in lines}) == 1
    )
    assert any(line.startswith("pca\tnmi_leiden\t0.") for line in lines)


def test_phone_width_needs_no_sideways_scrolling(page):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        assert page.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]") == [360, 360]
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_figures_are_shown_as_they_were_drawn(page):
    shown = page.execute_script(
        "return Promise.all([...document.querySelectorAll('#figures img')].map(async (item) => {"
        " item.scrollIntoView(); await item.decode(); return [item.naturalWidth, item.naturalHeight, item.offsetWidth > 100, item.alt]; }))"
    )
    assert [item[:3] for item in shown] == [[900, 300, True]] * len(FIGURES)
    assert shown[0][3].startswith("Figure 2 of ") and ": bmmc_multiome of " in shown[1][3]


def test_mean_ranks_and_variance_are_shown(page):
    table = page.find_element("css selector", "#ranking .meanranks")
    assert page.execute_script("return arguments[0].closest('.scroll').tabIndex", table) == 0
    assert "Friedman's p" in table.text and "Critical difference" in table.text and "multivi" in table.text
    # One seed: said once, and no column for parts that nobody knows.
    assert "the parts cannot be told apart" in page.find_element("css selector", "#variance .note").text
    assert page.execute_script("return document.querySelectorAll('#variance [data-view] rect').length") == 0
    assert len(page.find_elements("css selector", "#variance [data-charts] svg")) == 1
    assert "no trend resolved" in page.find_element("css selector", "#variance [data-trends]").text


def test_two_seeds_have_their_parts_drawn(browser, fictitious_metrics, tmp_path):
    from tests.benchmarks.report.conftest import fictitious_tables

    scores, runs = fictitious_tables(datasets=("a",), sizes=(500,), fractions=(0.5,), seeds=(0, 1))
    path = tmp_path / "seeds.html"
    path.write_text(report_html(Study(scores, runs, metrics=fictitious_metrics)), encoding="utf-8")
    drain(browser)
    browser.get(path.as_uri())
    heads = "return [...document.querySelectorAll('#variance [data-view] th[scope=col]')].map(item => item.textContent)"
    assert browser.execute_script(heads)[:4] == ["Model", "SD", "Subsample", "Seed"]
    label = browser.find_element("css selector", "#variance .bar svg").get_attribute("aria-label")
    assert label.startswith("subsample ") and ", seed " in label
    assert "one size" in browser.find_element("css selector", "#variance [data-trends]").text
    assert drain(browser)[0] == []


def test_curves_and_sentences_along_paired_cells(page):
    assert len(page.find_elements("css selector", "#advice [data-paired-curves] svg")) >= 5
    set_option(page, "advice", "cells", 0)
    assert "at 500 cells in all" in page.find_element("css selector", "#advice [data-at=cells]").text
    text = page.find_element("css selector", "#advice [data-paired-cells]").text
    assert "At 500 cells in all: improves with paired cells" in text and "At 2,000" not in text
    axes = (
        "return [...document.querySelectorAll('#advice [data-paired-curves] text.axis')].map(item => item.textContent)"
    )
    assert "Number of paired cells" in page.execute_script(axes)


def test_a_size_with_one_replicate_is_an_open_circle(browser, fictitious_metrics, tmp_path):
    """Three sizes with replicates are fitted; the fourth, with one, is drawn and said beside the curve."""
    from tests.benchmarks.report.conftest import fictitious_tables

    tables = fictitious_tables(datasets=("a",), sizes=(500, 1000, 2000, 4000), fractions=(0.0,))
    scores, runs = (table[(table["n_cells"] < 4000) | (table["replicate"] == 0)] for table in tables)
    path = tmp_path / "held.html"
    path.write_text(report_html(Study(scores, runs, metrics=fictitious_metrics)), encoding="utf-8")
    drain(browser)
    browser.get(path.as_uri())
    charts = browser.find_elements("css selector", "#advice [data-curves] svg")
    labels = [chart.get_attribute("aria-label") for chart in charts]
    # The page starts where the replicates can tell something.
    shown = "return [...document.querySelectorAll('#ranking select')].map(item => item.selectedOptions[0].text)"
    assert "2,000" in browser.execute_script(shown)
    # Of one model the tables have no value there.
    held = sum("not fitted to 4000 cells" in label for label in labels)
    assert held == len(charts) - 1 > 3
    assert len(browser.find_elements("css selector", "#advice [data-curves] circle.held")) == held
    text = browser.find_element("css selector", "#advice [data-cells]").text
    assert text.count("The one replicate of 4,000 cells, not in the fit, has") == held
    assert drain(browser)[0] == []


def test_a_study_of_one_size_says_once_why_nothing_is_fitted(browser, fictitious_study, fictitious_metrics, tmp_path):
    tables = [read_table(fictitious_study / f"{name}.parquet") for name in ("scores", "runs")]
    scores, runs = (table[(table["n_cells"] == 500) & (table["unpaired_fraction"] == 0.5)] for table in tables)
    path = tmp_path / "one.html"
    path.write_text(report_html(Study(scores, runs, metrics=fictitious_metrics)), encoding="utf-8")
    drain(browser)
    browser.get(path.as_uri())
    assert browser.find_element("css selector", "#advice").text.count("Not fitted") == 3
    assert not browser.find_elements("css selector", "#advice svg")
    assert drain(browser)[0] == []


def printed(browser) -> tuple[list[str], bytes]:
    """Headings in the outline of the page as it is printed (those that are drawn), and the PDF."""
    options = {"printBackground": True, "generateTaggedPDF": True, "generateDocumentOutline": True}
    pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", options)["data"])
    titles = [
        re.sub(rb"\\(.)", rb"\1", title).decode("latin-1")
        for title in re.findall(rb"/Title \(((?:\\.|[^()\\])*)\)", pdf)
    ]
    return titles, pdf


def test_all_of_it_is_on_paper(page):
    """Every section has its heading in the PDF; what is folded on the screen is open there, and folded again."""
    state = "return [...document.querySelectorAll('details')].map(item => item.open)"
    before = page.execute_script(state)
    sections = page.execute_script("return [...document.querySelectorAll('nav a')].map(item => item.textContent)")
    hidden = page.execute_script(
        "return [...document.querySelectorAll('#claims details h3')].map(item => item.firstChild.textContent.trim())"
    )
    assert False in before and len(hidden) > 2
    titles, pdf = printed(page)
    assert [title for title in titles if title in sections] == sections
    # Where a heading breaks over two lines the outline lacks the space.
    joined = ["".join(title.split()) for title in titles]
    assert all(any(title.startswith("".join(name.split())) for title in joined) for name in hidden)
    assert page.execute_script(state) == before
    # Pictures are loaded for paper although nobody scrolled to them.
    assert len(re.findall(rb"/Width 900\s*/Height 300", pdf)) == len(FIGURES)


def test_paper_shows_the_numbers_and_not_the_controls(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        page.set_window_size(760, 1000)
        for key in page.execute_script("return [...document.querySelectorAll('main > section')].map(item => item.id)"):
            text, height, select, width = page.execute_script(
                "const root = document.getElementById(arguments[0]), shown = [...root.querySelectorAll('select')].some(item => item.offsetParent);"
                "const wide = [...root.querySelectorAll('table, svg, img, canvas')].filter(item => item.offsetParent).map(item => item.getBoundingClientRect().right);"
                "return [root.innerText, root.offsetHeight, shown, Math.max(0, ...wide)]",
                key,
            )
            assert len(text) > 100 and height > 100 and not select, key
            assert width <= 760, key
        where = page.find_element("css selector", "#variance .where")
        assert where.is_displayed() and "2,000 cells" in where.text
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        page.set_window_size(1300, 900)


def test_fifty_thousand_rows_open_in_two_seconds(browser, tmp_path):
    from tests.benchmarks.report.conftest import FICTITIOUS_METRICS, fictitious_tables, fictitious_umaps

    # One replicate a condition is the worst case for the page: every score row is a row of its data.
    scores, runs = fictitious_tables(
        datasets=tuple("abcde"),
        sizes=tuple(range(500, 10001, 500)),
        fractions=(0.0, 0.2, 0.4, 0.6, 0.8),
        replicates=1,
        seeds=(0,),
    )
    assert len(scores) == 50_000
    path = tmp_path / "large.html"
    path.write_text(report_html(Study(scores, runs, {}, fictitious_umaps(runs), FICTITIOUS_METRICS)), encoding="utf-8")
    assert path.stat().st_size < 15e6
    drain(browser)
    seconds = []
    for _ in range(2):
        browser.get(path.as_uri())
        seconds.append(
            browser.execute_script(
                "const [n] = performance.getEntriesByType('navigation'); return n.loadEventEnd / 1000"
            )
        )
    assert min(seconds) < 2
    assert drain(browser)[0] == []


def test_the_data_set_with_the_most_sizes_is_shown_first(browser, fictitious_study, fictitious_metrics, tmp_path):
    """Not the first by name, which here has one size and no curve; advice starts on a metric with curves."""
    for name in ("scores", "runs", "umaps"):
        table = read_table(fictitious_study / f"{name}.parquet")
        poor = (table["dataset"] == "bmmc_multiome") & (table["n_cells"] < table["n_cells"].max())
        write_table(tmp_path / f"{name}.parquet", table[~poor])
    shutil.copy(fictitious_study / "provenance.json", tmp_path)
    write_report(tmp_path, tmp_path / "report.html", fictitious_metrics)
    browser.get((tmp_path / "report.html").as_uri())
    shown = "return [...document.querySelectorAll('#advice select')].map(item => item.selectedOptions[0].text)"
    assert browser.execute_script(shown)[0] == "snare_mouse_cortex"
    assert browser.execute_script("return document.querySelectorAll('#advice [data-curves] svg').length") > 0
    assert drain(browser)[0] == []
