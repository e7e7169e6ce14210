"""Presentations, made by a library that people make them with."""

from collections.abc import Callable
from io import BytesIO

import pytest
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.presentation import Presentation as Slides
from pptx.util import Inches

from raft_assets_tests.documents.conftest import Read
from raft_assets_tests.documents.readers.archive_files import archive, parts_of, with_text

TITLE_AND_CONTENT, TITLE_ONLY, BLANK = 1, 5, 6  # layouts


def written(fill: Callable[[Slides], object]) -> bytes:
    made = Presentation()
    fill(made)
    stream = BytesIO()
    made.save(stream)
    return stream.getvalue()


def harbour(made: Slides) -> None:
    slide = made.slides.add_slide(made.slide_layouts[TITLE_AND_CONTENT])
    slide.shapes.title.text = "Cranes"
    body = slide.placeholders[1].text_frame
    body.text = "Every lift above 20 tonnes is released."
    body.add_paragraph().text = "The duty engineer signs."
    slide.notes_slide.notes_text_frame.text = "Ask who was on duty."
    slide = made.slides.add_slide(made.slide_layouts[TITLE_ONLY])
    slide.shapes.title.text = "Tides"
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for row, cells in enumerate((("month", "height"), ("May", "4 m"))):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text


def test_slides_are_sections_with_their_titles_lists_tables_and_notes(read_file: Read) -> None:
    document = read_file("a.pptx", written(harbour))
    assert (document.kind, document.title, document.left_out) == ("pptx", "Cranes", {})
    assert [(page.page, page.heading) for page in document.pages] == [(1, "Cranes"), (2, "Tides")]
    assert document.document_text == (
        "## Cranes\n\n- Every lift above 20 tonnes is released.\n- The duty engineer signs.\n\n"
        "Notes: Ask who was on duty.\n\n## Tides\n\nmonth | height\nMay | 4 m"
    )


def test_slides_come_in_the_order_in_which_they_are_shown(read_file: Read) -> None:
    def fill(made: Slides) -> None:
        harbour(made)
        order = made.slides._sldIdLst
        order.insert(0, order[1])

    assert [page.heading for page in read_file("a.pptx", written(fill)).pages] == ["Tides", "Cranes"]


def test_a_hidden_slide_and_the_words_of_a_chart_are_left_out_and_counted(read_file: Read) -> None:
    def fill(made: Slides) -> None:
        harbour(made)
        made.slides[1]._element.set("show", "0")
        data = CategoryChartData()
        data.categories = ["May", "June"]
        data.add_series("Lifts", (12, 15))
        made.slides[0].shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, Inches(1), Inches(1), Inches(3), Inches(3), data)

    document = read_file("a.pptx", written(fill))
    assert [page.heading for page in document.pages] == ["Cranes"]
    assert document.left_out == {"hidden": 6, "graphic": 5}


def test_text_in_groups_and_boxes_stays_in_place(read_file: Read) -> None:
    def fill(made: Slides) -> None:
        slide = made.slides.add_slide(made.slide_layouts[BLANK])
        group = slide.shapes.add_group_shape()
        for text in ("In a group.", "Beside it."):
            group.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame.text = text
        box = slide.shapes.add_textbox(0, 0, Inches(1), Inches(1)).text_frame
        box.text = "First line\vsecond line"
        box.add_paragraph().text = "Another paragraph"

    document = read_file("a.pptx", written(fill))
    assert document.document_text == "In a group.\n\nBeside it.\n\nFirst line second line\n\nAnother paragraph"


EQUATION = (
    '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006">'
    '<mc:Choice xmlns:a14="http://schemas.microsoft.com/office/drawing/2010/main" Requires="a14"><p:sp><p:txBody><a:p>'
    '<a:r><a:t>The load is </a:t></a:r><a14:m><m:oMath xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/'
    'math"><m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath></a14:m>'
    "</a:p></p:txBody></p:sp></mc:Choice><mc:Fallback><p:sp><p:txBody><a:p><a:r><a:t>picture of it</a:t></a:r></a:p>"
    "</p:txBody></p:sp></mc:Fallback></mc:AlternateContent></p:spTree>"
)


def test_an_equation_is_text_and_its_picture_for_old_programs_is_not(read_file: Read) -> None:
    data = with_text(written(harbour), "ppt/slides/slide2.xml", "</p:spTree>", EQUATION)
    assert read_file("a.pptx", data).pages[1].text.endswith("The load is (a+b)/2")


DIAGRAM = (
    '<dgm:dataModel xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><dgm:ptLst>'
    '<dgm:pt modelId="1" type="doc"/><dgm:pt modelId="2"><dgm:t><a:p><a:r><a:t>Plan</a:t></a:r></a:p></dgm:t></dgm:pt>'
    '<dgm:pt modelId="3"><dgm:t><a:p><a:r><a:t>Lift</a:t></a:r></a:p></dgm:t></dgm:pt>'
    '<dgm:pt modelId="4" type="pres"><dgm:t><a:p><a:r><a:t>Plan</a:t></a:r></a:p></dgm:t></dgm:pt>'
    "</dgm:ptLst></dgm:dataModel>"
)
FRAME = (
    "<p:graphicFrame><a:graphic><a:graphicData><dgm:relIds "
    'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" r:dm="rId77" r:lo="rId78"/>'
    "</a:graphicData></a:graphic></p:graphicFrame></p:spTree>"
)
RELATION = (
    '<Relationship Id="rId77" Target="../diagrams/data1.xml" '
    'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/diagramData"/></Relationships>'
)


def test_the_steps_of_a_diagram_are_a_list(read_file: Read) -> None:
    data = with_text(written(harbour), "ppt/slides/slide2.xml", "</p:spTree>", FRAME)
    data = with_text(data, "ppt/slides/_rels/slide2.xml.rels", "</Relationships>", RELATION)
    data = archive(parts_of(data) | {"ppt/diagrams/data1.xml": DIAGRAM})
    assert read_file("a.pptx", data).pages[1].text.endswith("May | 4 m\n\n- Plan\n- Lift")


@pytest.mark.parametrize("name", ["a.zip", "a.ppsx", "a"])
def test_a_presentation_is_known_by_its_content(read_file: Read, name: str) -> None:
    assert read_file(name, written(harbour)).kind == "pptx"
