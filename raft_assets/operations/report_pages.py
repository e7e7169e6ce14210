"""The pages of a report where a browser can open them: in the lake, or copied from one in a cloud."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from upath import UPath

from raft_assets.core.atomic import is_local
from raft_assets.evaluation.answers_page import ANSWERS_TABLE
from raft_assets.evaluation.comparison_page import COMPARISON_TABLE
from raft_assets.settings.project import Project
from raft_assets.storage.lake import Lake

PAGES = ("eval_report", ANSWERS_TABLE)  # folders of the lake, each with a page per domain; they link to one another


def report_path(lake: Lake, domain: str | None) -> UPath:
    """Return the address of a domain's report, or of the index."""
    return lake.index_path if domain is None else lake.path("eval_report", domain, ".html")


def openable_path(project: Project, lake: Lake, domain: str | None) -> Path:
    """Return the file of a domain's report, or of the index, that a browser can open.

    A lake in a cloud is copied as far as the page links to, in the same folders.
    """
    return openable_page(project, lake, report_path(lake, domain), linked=_linked(lake, domain))


def openable_page(project: Project, lake: Lake, page: UPath, *, linked: Iterable[UPath] = ()) -> Path:
    """Return the file of a page of the lake that a browser can open: from a cloud, a copy beside those of `linked`."""
    if is_local(page):
        return Path(page.path)
    for copied in (page, *linked):
        copy = _copy_of(project, lake, copied)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(copied.read_bytes())
    return _copy_of(project, lake, page)


def copies_of(project: Project, domain: str) -> Iterable[Path]:
    """Yield where copies of a domain's pages may be, those of versions before 0.3.0 included."""
    yield _copies(project) / f"{domain}.html"
    for folder in (*PAGES, COMPARISON_TABLE):
        yield _copies(project) / folder / f"{domain}.html"


def _copies(project: Project) -> Path:
    return project.home / "reports"


def _copy_of(project: Project, lake: Lake, page: UPath) -> Path:
    return _copies(project) / page.relative_to(lake.index_path.parent).as_posix()


def _linked(lake: Lake, domain: str | None) -> Iterator[UPath]:
    """Yield the pages that a report, or the index, links to."""
    if domain is not None:
        yield from (path for path in [lake.path(ANSWERS_TABLE, domain, ".html")] if path.exists())
        return
    for name in sorted(lake.files()):
        folder, _, file = name.rpartition("/")
        if folder in PAGES and file.endswith(".html"):
            yield lake.path(folder, file.removesuffix(".html"), ".html")
