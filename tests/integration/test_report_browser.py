"""The page in a headless Chromium: its script runs, sorts and filters, and nothing complains."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from lxml import html

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from report_example import write_example

from artneuro.report.config import ReportConfig
from artneuro.report.page import build_report

pytestmark = pytest.mark.integration

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--enable-logging=stderr", "--virtual-time-budget=5000",
]  # fmt: skip

# Clicks through the page as a reader does and writes down what is then to be seen.
READER = """
const see = (name, value) => {
  const line = document.createElement("pre");
  line.className = "seen"; line.dataset.name = name; line.textContent = value;
  document.body.append(line);
};
const section = document.querySelector("section.results");
const column = (i) => [...section.querySelector("tbody").rows]
  .map((r) => r.cells[i].textContent.trim()).join("|");
const head = (i) => section.querySelector("thead").rows[0].cells[i];
head(7).querySelector("button").click();
see("down", column(7)); see("aria", head(7).getAttribute("aria-sort"));
head(7).querySelector("button").click();
see("up", column(7));
head(0).querySelector("button").click();
see("names", column(0)); see("old", String(head(7).getAttribute("aria-sort")));
const box = section.querySelector(".filter input");
box.value = "pyth"; box.dispatchEvent(new Event("input"));
see("filtered", [...section.querySelectorAll("tbody tr")]
  .filter((r) => r.offsetParent).map((r) => r.dataset.feature).join("|"));
see("said", section.querySelector(".filter output").textContent);
see("wide", String(document.documentElement.scrollWidth - window.innerWidth));
"""


def open_in_browser(page: Path, profile: Path, *flags: str) -> tuple[html.HtmlElement, str]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "this test needs chromium: apt-get install chromium"
    done = subprocess.run(
        [chromium, *FLAGS, *flags, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=400,
    )  # fmt: skip
    return html.fromstring(done.stdout), done.stderr


def complaints(log: str) -> list[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Path]]]:
    root = tmp_path_factory.mktemp("run")
    args = write_example(
        root,
        {"code_language": ["Python", "Go", "Rust", "<b>C&C</b>"], "natural_language": ["German"]},
    )
    output = root / "results/report/index.html"
    build_report(ReportConfig(), **args, output=output)
    return output, args


def test_it_opens_without_an_error_and_its_tables_are_there(
    run: tuple[Path, dict[str, list[Path]]], tmp_path: Path
) -> None:
    page, args = run
    tree, log = open_in_browser(page, tmp_path)
    assert complaints(log) == []
    assert tree.get("data-script") == "ready"
    scores = pl.read_parquet(args["scores"][0])
    for section in tree.xpath("//section[contains(@class, 'results')]"):
        rows = section.find(".//table").findall("tbody/tr")
        features = {row.get("data-feature") for row in rows}
        assert features <= set(scores["feature"])
        assert section.xpath(".//thead//button")
        assert not section.xpath(".//p[contains(@class, 'filter')]/@hidden")
        assert len(section.xpath(".//svg[@class='heat']")) == 2
    assert len(tree.xpath("//section[contains(@class, 'results')]")) == 2


@pytest.mark.parametrize("width", [1300, 500])
def test_a_reader_can_sort_and_filter(
    width: int, run: tuple[Path, dict[str, list[Path]]], tmp_path: Path
) -> None:
    text = run[0].read_text(encoding="utf-8")
    # The page lets no other script run, so the copy that is clicked through goes without the rule.
    text = re.sub(r"<meta http-equiv=[^>]*>", "", text)
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", f"<script>{READER}</script></body>"), encoding="utf-8")
    tree, log = open_in_browser(copy, tmp_path / "profile", f"--window-size={width},900")
    assert complaints(log) == []
    seen = {p.get("data-name"): p.text_content() for p in tree.xpath("//pre[@class='seen']")}
    numbers = [float(v) for v in seen["down"].split("|")]
    assert len(numbers) == 4
    assert numbers == sorted(numbers, reverse=True)
    assert [float(v) for v in seen["up"].split("|")] == sorted(numbers)
    assert (seen["aria"], seen["old"]) == ("descending", "null")
    assert seen["names"] == "<b>C&C</b>|Go|Python|Rust"
    assert seen["filtered"].split("|") == ["Python", "Python"]
    assert seen["said"] == "1 of 4 features"
    assert float(seen["wide"]) <= 0, "the page is wider than the window"


def test_a_script_that_slipped_in_does_not_run(
    run: tuple[Path, dict[str, list[Path]]], tmp_path: Path
) -> None:
    copy = tmp_path / "copy.html"
    slipped = "<script>document.documentElement.dataset.slipped = 'in'</script></body>"
    text = run[0].read_text(encoding="utf-8").replace("</body>", slipped)
    copy.write_text(text, encoding="utf-8")
    tree, log = open_in_browser(copy, tmp_path / "profile")
    assert tree.get("data-slipped") is None
    assert any("Content Security Policy" in line for line in complaints(log))
