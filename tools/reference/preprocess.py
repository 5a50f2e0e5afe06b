"""What Pillow makes of small pictures, resized and cut as transformers does: what packages/model is tested against.

    pip install pillow                                            (made with pillow 13.0.0)
    python tools/reference/preprocess.py tools/reference/preprocess
"""

import json
import random
import sys
from pathlib import Path

from PIL import Image

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
random.seed(4)
cases = []
for width, height in ((9, 6), (5, 13), (20, 17), (4, 4)):
    pixels = [random.choice([0, 255, random.randrange(256)]) for _ in range(width * height)]
    picture = Image.new("L", (width, height))
    picture.putdata(pixels)
    for resample in (2, 3):
        for size, crop in ((dict(width=7, height=8), None), (dict(width=7, height=8), 5), (dict(shortest_edge=8), 7), (dict(shortest_edge=5), 5)):
            edge = size.get("shortest_edge")
            to = (size["width"], size["height"]) if edge is None else (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)
            # Across first, as Pillow did before version 13 took the cheaper order: a cubic is clipped after each.
            resized = picture.resize((to[0], height), resample=resample).resize(to, resample=resample)
            if crop is not None:
                left, top = (to[0] - crop) // 2, (to[1] - crop) // 2
                resized = resized.crop((left, top, left + crop, top + crop))
            config = dict(size=size, resample=resample, do_center_crop=crop is not None, crop_size=crop)
            cases.append(dict(picture=dict(width=width, height=height, pixels=pixels), config=config, expected=list(resized.tobytes())))
(folder / "reference.json").write_text(json.dumps(dict(cases=cases), separators=(",", ":")) + "\n")
