"""Makes the README's picture of the page: `make screenshot` writes docs/images/page.png, from the service at work.

The fonts are those of the machine it runs on; the committed picture was made with Inter and P052 installed.
"""

from __future__ import annotations

import base64
import shutil
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, expect

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from browser.served import Served, chromium
from servers import short_folder

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "page.png"
MOST_BYTES = 150_000
COLOURS = 256
LEVELS = 64
"""Shades of each of red, green and blue that are told apart when the palette is chosen."""
PIXELS = """async (png) => {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const { data } = canvas.getImageData(0, 0, image.width, image.height);
  let text = "";
  for (let at = 0; at < data.length; at += 32768) text += String.fromCharCode(...data.subarray(at, at + 32768));
  return [image.height, image.width, btoa(text)];
}"""

Pixels = npt.NDArray[np.uint8]


def main() -> int:
    folder = short_folder()
    served = Served(folder)
    try:
        with chromium() as browser:
            context = browser.new_context(
                viewport={"width": 1280, "height": 1000}, device_scale_factor=1.5, color_scheme="light"
            )
            png = picture(context.new_page(), served.url)
            blank = context.new_page()
            PICTURE.write_bytes(with_palette(pixels(blank, png)))
    finally:
        served.stop()
        shutil.rmtree(folder)
    size = PICTURE.stat().st_size
    sys.stdout.write(f"{PICTURE.relative_to(Path.cwd())}: {size} bytes\n")
    return 0 if size < MOST_BYTES else 1


def picture(page: Page, url: str) -> bytes:
    """The page after a few predictions, down to the end of the recent ones."""
    page.goto(url)
    for name, species in (("a typical setosa", "setosa"), ("a typical virginica", "virginica")):
        page.wait_for_timeout(1000)  # closer together they would be one movement of a slider
        page.get_by_role("button", name=name).click()
        expect(page.locator("#verdict")).to_have_text(f"Iris {species}")
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="one between two").click()
    expect(page.locator("#verdict")).to_have_text("Iris versicolor")
    page.mouse.move(0, 0)
    page.wait_for_timeout(3000)  # until the queue has been looked at once more
    bottom = page.locator("#recent").evaluate("card => card.getBoundingClientRect().bottom")
    return page.screenshot(clip={"x": 0, "y": 0, "width": 1280, "height": bottom + 12})


def pixels(page: Page, png: bytes) -> Pixels:
    """Rows of red, green and blue, as the browser reads its own picture."""
    height, width, data = page.evaluate(PIXELS, base64.b64encode(png).decode())
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[:, :, :3]


def with_palette(rows: Pixels) -> bytes:
    """A PNG of at most `COLOURS` colours: the most frequent ones, and for all others the nearest of these."""
    coarse = (rows // (256 // LEVELS)).reshape(-1, 3) @ np.array([LEVELS**2, LEVELS, 1])
    _, place, count = np.unique(coarse, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(place, rows.reshape(-1, 3)[:, channel]) for channel in range(3)], axis=1)
    means = sums / count[:, None]
    palette = means[np.argsort(-count)[:COLOURS]]
    nearest = ((means[:, None] - palette[None]) ** 2).sum(axis=2).argmin(axis=1)
    indexed = nearest[place].astype(np.uint8).reshape(rows.shape[:2])
    lines = np.pad(indexed, ((0, 0), (1, 0)))  # every line begins with its filter: 0, none
    height, width = indexed.shape
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.round().astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


if __name__ == "__main__":
    sys.exit(main())
