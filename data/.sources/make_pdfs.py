"""Regenerate the PDF documents of the demo domains from their Markdown sources.

Every ``data/.sources/<domain>/<name>.md`` becomes ``data/<domain>/<name>.pdf``: an A4 report with a title, headings,
justified text, a running header and page numbers. The output is byte-identical on every run. Supported Markdown:
``#`` (title), ``##`` (heading), paragraphs and ``-`` lists. Needs reportlab (``pip install reportlab``).
"""

import argparse
import re
from pathlib import Path
from xml.sax.saxutils import escape

from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import cm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph

SOURCES = Path(__file__).resolve().parent
MARGIN = 2.4 * cm
TEXT = ParagraphStyle(
    "Text", fontName="Times-Roman", fontSize=11, leading=15, alignment=TA_JUSTIFY, spaceAfter=7, embeddedHyphenation=0
)
ITEM = ParagraphStyle("Item", parent=TEXT, leftIndent=16, bulletIndent=4, spaceAfter=3)
TITLE = ParagraphStyle("Title", fontName="Helvetica-Bold", fontSize=21, leading=26, spaceAfter=16)
HEADING = ParagraphStyle(
    "Heading", fontName="Helvetica-Bold", fontSize=13.5, leading=17, spaceBefore=9, spaceAfter=5, keepWithNext=1
)


def parse(markdown: str) -> tuple[str, list[Flowable]]:
    """Turn the small Markdown subset into a document title and its flowables."""
    title = ""
    story: list[Flowable] = []
    for block in re.split(r"\n\s*\n", markdown.strip()):
        if block.startswith("- "):
            items = re.split(r"\n(?=- )", block)
            story += [Paragraph(escape(" ".join(item[2:].split())), ITEM, bulletText="\u2022") for item in items]
            continue
        text = " ".join(block.split())
        if text.startswith("## "):
            story.append(Paragraph(escape(text[3:]), HEADING))
        elif text.startswith("# "):
            title = text[2:]
            story.append(Paragraph(escape(title), TITLE))
        else:
            story.append(Paragraph(escape(text), TEXT))
    return title, story


def make_pdf(source: Path, target: Path) -> None:
    """Write one PDF document."""
    title, story = parse(source.read_text(encoding="utf-8"))
    title = title or source.stem

    width, height = A4

    def draw_header(canvas: Canvas, _: BaseDocTemplate) -> None:
        canvas.saveState()
        canvas.setFont("Helvetica", 8.5)
        canvas.setFillGray(0.35)
        canvas.drawString(MARGIN, height - 1.5 * cm, title)
        canvas.line(MARGIN, height - 1.65 * cm, width - MARGIN, height - 1.65 * cm)
        canvas.restoreState()

    def draw_footer(canvas: Canvas, document: BaseDocTemplate) -> None:
        canvas.saveState()
        canvas.setFont("Helvetica", 8.5)
        canvas.setFillGray(0.35)
        canvas.drawCentredString(width / 2, 1.3 * cm, f"Page {document.page}")
        canvas.restoreState()

    document = BaseDocTemplate(str(target), pagesize=A4, title=title, invariant=1)
    frame = Frame(MARGIN, MARGIN, A4[0] - 2 * MARGIN, A4[1] - 2 * MARGIN, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate(id="page", frames=[frame], onPage=draw_header, onPageEnd=draw_footer))
    target.parent.mkdir(parents=True, exist_ok=True)
    document.build(story)


def main() -> None:
    """Rebuild the PDFs of all domains, or of those named on the command line."""
    parser = argparse.ArgumentParser(description="Regenerate the PDF documents of the demo domains.")
    parser.add_argument("domains", nargs="*", help="domains to rebuild, for example 'bats' (default: all)")
    domains = parser.parse_args().domains
    for source in sorted(SOURCES.glob("*/*.md")):
        domain = source.parent.name
        if domains and domain not in domains:
            continue
        target = SOURCES.parent / domain / f"{source.stem}.pdf"
        make_pdf(source, target)
        print(target.relative_to(SOURCES.parent))


if __name__ == "__main__":
    main()
