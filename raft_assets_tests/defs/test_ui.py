"""The Dagster UI and the report as a person sees them: a real `raft ui`, in headless Chromium."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pypdfium2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from raft_assets.defs.lineage_asset import MAIN_PATH, main_path_address
from raft_assets.evaluation.report import render_report
from raft_assets_tests.conftest import SMALL
from raft_assets_tests.evaluation.test_report import HOSTILE, MARKUP, hostile_report
from raft_assets_tests.harness import ProjectHarness
from raft_assets_tests.processes import free_port

expect.set_options(timeout=60_000)  # a machine that does other work as well needs more than 5 s

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
PATIENCE_MS = 60_000
LAUNCH = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATUS = "query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"
STALE = """query($key: AssetKeyInput!, $partition: String!) { assetNodeOrError(assetKey: $key) {
  ... on AssetNode { staleStatus(partition: $partition) staleCauses(partition: $partition) { reason } } } }"""
SENSORS = """query($selector: RepositorySelector!) { sensorsOrError(repositorySelector: $selector) {
  ... on Sensors { results { name sensorState { status } } } } }"""
JOB_RUNS = """query($selector: PipelineSelector!) { pipelineOrError(params: $selector) {
  ... on Pipeline { runs(limit: 100) { runId } } ... on PythonError { message } } }"""
LISTED_RUNS = """query($filter: RunsFilter!) { pipelineRunsOrError(filter: $filter) {
  ... on Runs { results { runId repositoryOrigin { repositoryLocationName } } } } }"""
CODE_LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "raft_assets"}


class Ui:
    """A running UI of a project."""

    def __init__(self, project: ProjectHarness, port: int) -> None:
        self.project = project
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """A GraphQL query, as the UI's pages ask it."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]

    def stale_status(self, asset: str, domain: str) -> str:
        """What the UI says of an asset's partition."""
        return self.ask(STALE, key={"path": asset.split("/")}, partition=domain)["assetNodeOrError"]["staleStatus"]


@pytest.fixture(scope="module")
def ui(finished: ProjectHarness, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    folder = tmp_path_factory.mktemp("ui")
    shutil.copytree(finished.folder, folder, dirs_exist_ok=True)
    project = ProjectHarness(folder)
    port = free_port()
    log = (folder / "ui.log").open("wb")
    process = subprocess.Popen(
        ProjectHarness.command("ui", "--port", str(port)),
        cwd=folder,
        env=project.variables,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    running = Ui(project, port)
    try:
        wait_until(lambda: answers(running), "the UI to answer", process)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            project.kill(process)
        log.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are left to be looked at: `RAFT_SCREENSHOTS`, else a temporary folder."""
    folder = Path(os.environ.get("RAFT_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def told(page: Page) -> list[str]:
    """What the page complains about: errors in its console, blocked content included."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        yield page
        browser.close()


def test_the_lineage_page_shows_every_group_without_a_dialog_in_front(ui: Ui, page: Page, shots: Path) -> None:
    page.goto(f"{ui.address}/asset-groups")
    for group in ("domain_files", "domain_settings", "documents", "dataset", "student", "evaluation"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    assert page.get_by_role("dialog").count() == 0
    page.screenshot(path=shots / "lineage.png")
    assert not_blank(shots / "lineage.png")


def test_the_main_path_opened_fits_a_small_screen_and_has_no_settings(ui: Ui, page: Page, shots: Path) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(main_path_address(ui.address))
    for asset in MAIN_PATH:
        expect(page.get_by_text(asset, exact=True).first).to_be_in_viewport(ratio=1, timeout=PATIENCE_MS)
    assert page.get_by_text("domain_settings").count() == 0
    page.screenshot(path=shots / "main_path.png")


def test_an_assets_page_shows_its_plot_and_verdict(ui: Ui, page: Page) -> None:
    page.goto(f"{ui.address}/assets/eval_scores?view=partitions&partition={SMALL}")
    sentence = ui.project.results.verdicts()[SMALL]["sentence"]
    expect(page.get_by_text(sentence[:40]).first).to_be_visible(timeout=PATIENCE_MS)
    page.goto(f"{ui.address}/assets/chunks?view=partitions&partition={SMALL}")
    page.get_by_text("[Show Markdown]").last.click()
    plot = page.locator("img[src^='data:image/svg+xml']")
    expect(plot).to_be_visible(timeout=PATIENCE_MS)
    assert plot.evaluate("image => image.naturalWidth") > 0


def test_no_warning_of_dagsters_reaches_the_terminal(ui: Ui) -> None:
    printed = (ui.project.folder / "ui.log").read_text("utf-8")
    assert [line for line in printed.splitlines() if re.search(r"\w+Warning:", line)] == []


def test_a_run_of_the_command_line_is_where_the_ui_looks_for_its_own(ui: Ui) -> None:
    """By the queries of the timeline and of the job's page; all runs of the project are `raft run`'s."""
    selector = {"pipelineName": "lineage", **CODE_LOCATION}
    of_job = ui.ask(JOB_RUNS, selector=selector)["pipelineOrError"]["runs"]
    label = {"key": ".dagster/repository", "value": "__repository__@raft_assets"}
    listed = ui.ask(LISTED_RUNS, filter={"tags": [label]})["pipelineRunsOrError"]["results"]
    assert {run["runId"] for run in of_job} == {run["runId"] for run in listed} != set()
    assert {run["repositoryOrigin"]["repositoryLocationName"] for run in listed} == {"raft_assets"}


def test_the_sensor_shows_an_edit_as_unsynced_in_that_domain_only(ui: Ui, page: Page) -> None:
    document = min((ui.project.folder / "data" / SMALL).glob("*.txt"))
    document.write_text(document.read_text("utf-8") + "\n\nThe brown long-eared bat sleeps in Leeds.\n", "utf-8")
    ui.project.write("data/untouched/a.txt", "The harbour of Marrow Bay was dredged in 1931.\n")
    wait_until(lambda: ui.stale_status("source_documents", SMALL) == "STALE", "the sensor to see the edit")
    assert ui.stale_status("chunks", SMALL) == "FRESH"
    page.goto(f"{ui.address}/assets/source_documents?view=partitions&partition={SMALL}")
    expect(page.get_by_text(re.compile("Unsynced")).first).to_be_visible(timeout=PATIENCE_MS)


def test_the_observing_sensor_runs_and_the_requesting_one_does_not(ui: Ui) -> None:
    listed = ui.ask(SENSORS, selector=CODE_LOCATION)["sensorsOrError"]
    found = {sensor["name"]: sensor["sensorState"]["status"] for sensor in listed["results"]}
    always = ("observe_domains", "tear_down_expired", "collect_batches", "collect_jobs", "resume_lost_runs")
    assert found == dict.fromkeys(always, "RUNNING") | {"request_stale": "STOPPED"}


def test_a_backfill_from_the_ui_materializes_every_partition(ui: Ui) -> None:
    for name in ("second", "third with spaces"):
        ui.project.write(
            f"data/{name}/a.txt", "The harbour of Marrow Bay was dredged in 1931. The dredger was called Constance.\n"
        )
    domains = ui.project.look()
    launched = ui.ask(
        LAUNCH,
        params={"assetSelection": [{"path": ["source_documents"]}, {"path": ["chunks"]}], "partitionNames": domains},
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    ended = ("COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED")

    def status() -> str:
        return str(ui.ask(STATUS, id=launched["backfillId"])["partitionBackfillOrError"]["status"])

    wait_until(lambda: status() in ended, "the backfill to end")
    assert status() == "COMPLETED_SUCCESS"
    for domain in domains:
        assert ui.project.states(domain)["chunks"].state == "fresh"


def test_raft_run_from_another_machine_submits_to_the_queue_and_follows_it(ui: Ui, tmp_path: Path) -> None:
    ui.project.write("data/fourth/a.txt", "The harbour of Marrow Bay was dredged in 1931.\n")
    ui.project.write("data/broken/a.pdf", "no PDF")
    ui.project.look()
    laptop = ProjectHarness(tmp_path)
    laptop.own_variables = {"RAFT_HOSTED_URL": ui.address, "RAFT_LAKE": ui.project.opened.lake, "COLUMNS": "300"}
    ran = laptop.raft_here("run", "fourth", "broken", "--select", "chunks", "--budget", "2")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert f": {ui.address}/runs/b/" in ran.stdout
    assert re.search(r"fourth: chunks +1 rows\n", ran.stdout)
    assert "broken: failed: source_documents: " in ran.stdout
    with ui.project.instance() as instance:
        runs = {run.tags["dagster/partition"]: run for run in instance.get_runs(limit=2)}
    assert runs.keys() == {"fourth", "broken"}
    assert {run.tags["raft/budget"] for run in runs.values()} == {"2.0"}
    again = laptop.raft_here("run", "fourth", "--select", "chunks")
    assert (again.returncode, again.stdout) == (0, "fourth: everything is fresh\n")
    for domain in ("fourth", "broken"):
        told = json.loads(laptop.raft_here("status", domain, "--json").stdout)["assets"]
        own = ui.project.states(domain)
        assert {name: state["state"] for name, state in told.items()} == {n: s.shown for n, s in own.items()}
    assert told["source_documents"]["reasons"] == list(own["source_documents"].reasons)
    unknown = laptop.raft_here("run", "forth")
    assert unknown.returncode == 2
    assert "knows no domain 'forth'. Did you mean" in unknown.stderr


@pytest.mark.parametrize("view", [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light")])
def test_the_first_screen_of_the_report_holds_the_whole_summary_and_nothing_sticks_out(
    finished: ProjectHarness,
    page: Page,
    told: list[str],
    shots: Path,
    view: tuple[int, int, Literal["light", "dark"]],
) -> None:
    width, height, scheme = view
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(Path(str(finished.lake.path("eval_report", SMALL, ".html"))).as_uri())
    for text in ("95 % interval", "Questions", "Models", "No model", "Cost", "Time", "Evaluated", "All answers"):
        place = page.locator(".verdict").get_by_text(text).first.bounding_box()
        assert place is not None
        assert place["y"] + place["height"] < height, text
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert all(url.startswith("file:") for url in asked)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")  # the policy let the page's style in
    page.screenshot(path=shots / f"report-{scheme}-{width}.png")
    assert not_blank(shots / f"report-{scheme}-{width}.png")
    page.get_by_role("link", name="All answers").first.click()
    expect(page.locator("#controls")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert told == []


def test_the_report_is_printed_on_eight_pages_at_most_with_what_is_open(
    finished: ProjectHarness, page: Page, shots: Path
) -> None:
    def printed() -> tuple[int, str]:
        page.pdf(path=shots / "report.pdf")
        with closing(pypdfium2.PdfDocument(shots / "report.pdf")) as sheets:
            return len(sheets), "".join(sheet.get_textpage().get_text_range() for sheet in sheets)

    page.goto(Path(str(finished.lake.path("eval_report", SMALL, ".html"))).as_uri())
    pages, text = printed()
    assert pages <= 8
    assert "95 % interval" in text
    assert "evaluation.max_answer_tokens" not in text
    page.get_by_role("heading", name="Settings").click()
    assert "evaluation.max_answer_tokens" in printed()[1]


def test_the_keyboard_reaches_the_content_and_opens_what_is_folded(finished: ProjectHarness, page: Page) -> None:
    page.goto(Path(str(finished.lake.path("eval_report", SMALL, ".html"))).as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["eval_report", "index"])
def test_a_screen_reader_meets_no_barrier_that_axe_knows(
    finished: ProjectHarness, page: Page, scheme: Literal["light", "dark"], name: str
) -> None:
    """axe-core's rules: names and roles, contrast, order of headings, captions of tables, texts of pictures."""
    page.emulate_media(color_scheme=scheme)
    address = finished.lake.index_path if name == "index" else finished.lake.path(name, SMALL, ".html")
    page.goto(Path(str(address)).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert len(found.response["passes"]) >= 15  # so many of its rules had something to look at
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x>')")
    assert Axe().run(page).violations_count > 0


def test_a_document_full_of_markup_stays_text_in_the_browser(page: Page, told: list[str], tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: told.append(dialog.message))
    report = tmp_path / "report.html"
    report.write_text(render_report(hostile_report()), "utf-8")
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(folded => { folded.open = true })")
    assert asked == [report.as_uri()]
    assert told == []
    assert page.locator("script, img, iframe, object, base, form, link, svg a, svg script").count() == 0
    assert (
        page.evaluate(
            "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())"
            ".filter(name => name.startsWith('on')).length"
        )
        == 0
    )
    assert page.locator(".document").get_by_text(MARKUP).first.is_visible()
    assert page.locator("h1").inner_text() == HOSTILE


def not_blank(screenshot: Path) -> bool:
    """Whether a picture shows something: an empty page of that size takes a tenth of this."""
    return screenshot.stat().st_size > 20_000


def answers(running: Ui) -> bool:
    try:
        return bool(running.ask("{ version }")["version"])
    except OSError:
        return False


def wait_until(holds: Any, what: str, process: subprocess.Popen[bytes] | None = None, seconds: float = 600) -> None:
    """Returns as soon as it holds; fails when it doesn't for so long."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert process is None or process.poll() is None, "the process ended"
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.5)
