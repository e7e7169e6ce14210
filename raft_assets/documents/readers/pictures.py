"""Pictures of pages (PNG, JPEG, TIFF, WebP): their text is read by OCR, page by page."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np

from raft_assets.core.progress import track
from raft_assets.documents.readers.content import ParsedContent, UnreadableError
from raft_assets.documents.readers.left_out import LeftOutReason
from raft_assets.documents.readers.ocr import (
    MAX_GUESSED_PAGES,
    MAX_OCR_PAGES,
    MAX_SIDE,
    Picture,
    check_pixels,
    is_available,
    needs_ocr,
    recognize,
)
from raft_assets.documents.readers.pdf import build_content, order_lines
from raft_assets.documents.readers.pdf_lines import PageLines

POINTS_PER_PIXEL = 72 / 200  # of a scan at 200 dpi; only what is larger than what matters

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP")


def is_picture(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a picture that is read."""
    return head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")) or (
        head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    )


def read_picture(data: bytes) -> ParsedContent:
    """Return a section per page that has text. Raises UnreadableError (needs_extra, corrupt, too_large)."""
    if not is_available():
        raise needs_ocr("The file is a picture")
    pages: list[PageLines] = []
    left_out: Counter[LeftOutReason] = Counter()
    guessed = 0
    for number, picture in enumerate(track("scanned pages read", _pages(data)), start=1):
        found = recognize(picture, points_per_pixel=POINTS_PER_PIXEL)
        guessed = guessed + 1 if found.is_guesswork else 0
        if guessed == MAX_GUESSED_PAGES:
            raise UnreadableError(
                "no_text",
                f"{guessed} pages of the picture in a row, up to page {number}, are illegible; scan it again.",
            )
        pages.append(order_lines(PageLines(number, found.height, found.lines)))
        left_out["illegible"] += found.illegible
    return replace(build_content("image", pages, "", left_out), scanned={"ocr": len(pages)})


def _pages(data: bytes) -> Iterator[Picture]:
    """Yield the pictures of a file, each as small as OCR needs it. Raises UnreadableError (corrupt, too_large)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(BytesIO(data), formats=_FORMATS) as image:
            frames = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1  # of others: an animation
            for frame in range(min(frames, MAX_OCR_PAGES)):
                image.seek(frame)
                check_pixels(image.width, image.height, "The picture")
                image.draft("RGB", (MAX_SIDE, MAX_SIDE))  # JPEG: decoded at a fraction of its size
                picture = _to_usual_mode(ImageOps.exif_transpose(image))
                picture.thumbnail((MAX_SIDE, MAX_SIDE))
                if picture.has_transparency_data:
                    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
                picture = picture.convert("RGB")
                yield np.ascontiguousarray(np.asarray(picture)[..., ::-1])
    except Image.DecompressionBombError as error:
        raise UnreadableError("too_large", f"The picture is too large ({error}); save it with fewer pixels.") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise UnreadableError("corrupt", f"The picture is damaged ({error}); save it again.") from error


def _to_usual_mode(image: Any) -> Any:
    """Return the picture in a mode that can be made smaller without losing its grey."""
    if image.mode.startswith("I"):  # 16 bits a pixel
        return image.point(lambda value: value / 256).convert("L")
    if image.mode in ("1", "L", "RGB", "RGBA", "LA"):
        return image.convert("L") if image.mode == "1" else image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
