"""OCR: the lines of a picture, with their geometry, by `rapidocr` (the extra `ocr`, whose wheel carries the models).

What a picture is and how many pixels it may have is decided by who hands it in. Where the extra isn't installed,
`is_available` says so, and nothing here imports it.
"""

import functools
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from raft_assets.core.progress import track
from raft_assets.documents.readers.cleaning import to_one_line
from raft_assets.documents.readers.content import UnreadableError
from raft_assets.documents.readers.left_out import OCR_COMMAND, count_words
from raft_assets.documents.readers.pdf_lines import Line

MAX_SIDE = 2400  # pixels of the longer side that OCR sees: 200 dpi of an A4 page
MAX_ASPECT = 4  # of the sides: what is longer is widened, since OCR enlarges pictures until both sides are long
MAX_PICTURE_PIXELS = 120_000_000  # a page of A3 at 600 dpi has 70 million
MAX_OCR_PAGES = 1_000  # of a document, at some seconds each
# how often the height of a line goes into its width, where one is about two characters: of a line, of a whole page
MAX_LINE_SHAPE, MAX_PAGE_SHAPE = 120.0, 4_000.0
SURE_SCORE = 0.9  # of all lines of a page; below it the page may stand on its head
STANDING = 1.5  # times as high as wide, is a line that runs upwards
MIN_SCORE = 0.5  # of a line, from 0 to 1; below it is guesswork
MAX_THREADS = 4
LINES_READ = "lines of a page read by OCR"  # what is counted so often that a page is known to get on
GUESSED_SCORE = 0.6  # of all lines of a page; bad scans have 0.8
MAX_GUESSED_PAGES = 5  # one after the other, after which no further ones are read
# sizes of one font, as far as boxes around its lines tell: with or without letters that reach up and down
SAME_SIZE = (0.7, 1.3)


Picture = npt.NDArray[np.uint8]  # (height, width, 3), blue, green, red
Box = npt.NDArray[np.float32]  # (4, 2), corners of a line in pixels, clockwise from the upper left


@dataclass(frozen=True)
class Recognized:
    """What is read in a picture."""

    lines: tuple[Line, ...]  # from top to bottom, in points
    illegible: int  # words that were guesswork
    height: float  # of the page, in points
    score: float  # mean of the lines, from 0 to 1

    @property
    def is_guesswork(self) -> bool:
        """Whether the page is no scan of a text that more time would read."""
        return self.score < GUESSED_SCORE


def is_available() -> bool:
    """Return whether the extra is installed."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def check_pixels(width: int, height: int, what: str) -> None:
    """Check that a picture is none that only its decoding makes large. Raises UnreadableError (too_large)."""
    if width * height > MAX_PICTURE_PIXELS:
        raise UnreadableError(
            "too_large",
            f"{what} has {width:,} × {height:,} pixels, and the limit is {MAX_PICTURE_PIXELS / 1e6:,.0f} million; save "
            "it with fewer.",
        )


def needs_ocr(what: str) -> UnreadableError:
    """Return the error that says how to install OCR."""
    return UnreadableError(
        "needs_extra",
        f"{what}, which is read by OCR; install it with {OCR_COMMAND} and read the domain anew with "
        "`raft run DOMAIN --force`.",
    )


def recognize(picture: Picture, *, points_per_pixel: float) -> Recognized:
    """Return the lines of a picture, which may lie on its side or stand on its head.

    Raises UnreadableError (too_large) for more text than a page has, before it is read.
    """
    boxes = _find_lines(picture)
    if sum(_stands(box) for box in boxes) > len(boxes) / 2:
        picture = np.ascontiguousarray(np.rot90(picture))
        boxes = _find_lines(picture)
    found = _read_lines(picture, boxes, points_per_pixel)
    if found.score < SURE_SCORE:
        picture = np.ascontiguousarray(np.rot90(picture, 2))
        turned = _read_lines(picture, _find_lines(picture), points_per_pixel)
        found = max(found, turned, key=lambda way: way.score)
    return found


def _find_lines(picture: Picture) -> list[Box]:
    found = _engine()(_widened(picture), use_det=True, use_cls=False, use_rec=False).boxes
    boxes = [] if found is None else [box.astype(np.float32) for box in found]
    legible = [box for box in boxes if _shape(box) <= MAX_LINE_SHAPE]
    if sum(map(_shape, legible)) > MAX_PAGE_SHAPE:
        raise UnreadableError("too_large", "A picture has more text than a page; cut it into pages.")
    return legible


def _read_lines(picture: Picture, boxes: Sequence[Box], points_per_pixel: float) -> Recognized:
    from rapidocr.utils.process_img import get_rotate_crop_image

    engine, height = _engine(), picture.shape[0] * points_per_pixel
    lines: list[Line] = []
    illegible, scores = 0, list[float]()
    for box in track(LINES_READ, boxes, len(boxes)):
        read = engine(get_rotate_crop_image(picture, box), use_det=False, use_cls=False, use_rec=True)
        words, score = (to_one_line(str(read.txts[0])), read.scores[0]) if read.txts else ("", 0.0)
        scores.append(float(score))
        if score < MIN_SCORE:
            illegible += count_words(words)
        elif words:
            (left, top), (right, bottom) = (box.min(axis=0) * points_per_pixel, box.max(axis=0) * points_per_pixel)
            size = _box_height(box) * points_per_pixel
            middle = height - float(top + bottom) / 2
            lines.append(Line(words, float(left), middle - size / 2, float(right), middle + size / 2, size, bold=False))
    return Recognized(tuple(_with_usual_size(lines)), illegible, height, statistics.fmean(scores or [1.0]))


def _widened(picture: Picture) -> Picture:
    """Return the picture with white to its right or below, where one side is much longer than the other."""
    height, width = picture.shape[:2]
    below, right = max(0, width // MAX_ASPECT - height), max(0, height // MAX_ASPECT - width)
    return np.pad(picture, ((0, below), (0, right), (0, 0)), constant_values=255) if below or right else picture


def _box_height(box: Box) -> float:
    """Return the height of a line in pixels."""
    return float(np.linalg.norm(box[0] - box[3]))


def _stands(box: Box) -> bool:
    """Return whether a line runs upwards or downwards rather than across."""
    return _box_height(box) > STANDING * float(np.linalg.norm(box[0] - box[1]))


def _shape(box: Box) -> float:
    """Return how often the shorter side of a box goes into the longer one."""
    sides = sorted((float(np.linalg.norm(box[0] - box[1])), _box_height(box)))
    return sides[1] / max(sides[0], 1.0)


def _with_usual_size(lines: list[Line]) -> list[Line]:
    """Return the lines with one size for those that are probably of one font."""
    if not lines:
        return []
    usual = statistics.median(line.size for line in lines)
    return [
        replace(line, size=usual, bottom=line.middle - usual / 2, top=line.middle + usual / 2)
        if SAME_SIZE[0] * usual <= line.size <= SAME_SIZE[1] * usual
        else line
        for line in lines
    ]


@functools.cache
def _engine() -> Callable[..., Any]:
    from rapidocr import RapidOCR

    wanted = os.environ.get("OMP_NUM_THREADS", "")  # 1 where domains run in parallel
    threads = int(wanted) if wanted.isdecimal() and int(wanted) else os.cpu_count() or 1
    engine: Callable[..., Any] = RapidOCR(
        params={
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": min(MAX_THREADS, threads),
        }
    )
    return engine
