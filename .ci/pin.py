"""pin.py VALUES IMAGES: writes into a chart's values the digest of each image that IMAGES lists.

IMAGES has a REPOSITORY@DIGEST a line. A place for one is a `digest: ""` below its `repository:`, or an
`inlineDigest: ""` for that repository's -inline. An image without a place, or a place without an image, would leave a
chart that is pinned in part: an error, and nothing is written.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def pinned(values: str, images: dict[str, str]) -> str:
    """Return the values with every empty digest filled in; exits with a sentence when that cannot be done."""
    left, lines, repository = dict(images), [], ""
    for line in values.splitlines(keepends=True):
        if found := re.match(r" +repository: (\S+)", line):
            repository = found[1]
        if empty := re.match(r'( +(?:digest|(inlineDigest)): )""', line):
            name = f"{repository}-inline" if empty[2] else repository
            image = next((image for image in left if f"/{image}".endswith(f"/{name}")), None)
            if image is None:
                sys.exit(f"no digest is known of {name}")
            line = f"{empty[1]}{left.pop(image)}{line[empty.end() :]}"
        lines.append(line)
    if left:
        sys.exit(f"the values have no place for the digest of {', '.join(left)}")
    return "".join(lines)


if __name__ == "__main__":
    place, listed = Path(sys.argv[1]), Path(sys.argv[2]).read_text().split()
    place.write_text(pinned(place.read_text(), dict(image.split("@") for image in listed)))
