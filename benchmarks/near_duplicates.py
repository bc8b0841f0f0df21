"""Which near-duplicates are found, at what size, and in what time.

python benchmarks/near_duplicates.py bursts [COUNT...]
python benchmarks/near_duplicates.py kinds [DATA]

`bursts`: drawn fruit, each drawing seen in ten frames; 3,000, 6,000 and 60,000 frames by default. A frame is shifted, exposed
otherwise, noisy, and saved at a quality of its own. Two kinds: `steady` moves by up to 1 % of the side, `shaky` by up to 3 %.
`kinds`: the transformations that imagededup publishes its figures for (crop, two mirror images, 25 degrees, other
proportions), of 200 pictures of DATA or of drawn fruit: how many of each are grouped with their original.
"""

from __future__ import annotations

import io
import resource
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import Pool

import numpy as np
from PIL import Image, ImageOps
from tests.drawn import KINDS, draw

from whatsit.events import SILENT
from whatsit.images.audit import measure
from whatsit.images.data import open_data
from whatsit.images.decode import decode
from whatsit.images.near import near_duplicates

FRAMES = 10
SIZE = (96, 72)
SHIFT = {"steady": 0.01, "shaky": 0.03}

TRANSFORMATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "crop to 80 %": lambda one: one.crop(tuple(int(s * side) for s in (0.1, 0.9) for side in one.size)),  # type: ignore[arg-type]
    "mirror image": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by 25 degrees": lambda one: one.rotate(25, Image.Resampling.BICUBIC),
    "other proportions": lambda one: one.resize((one.width, max(1, one.height * 2 // 3))),
    "saved at quality 30": lambda one: one,
}


def main() -> None:
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "bursts":
        bursts([int(count) for count in rest] or [3_000, 6_000, 60_000])
    else:
        kinds(originals(rest[0] if rest else None))


def bursts(counts: Iterable[int]) -> None:
    for kind in SHIFT:
        with Pool(2) as pool:
            made = pool.map(partial(burst, kind), range(max(counts) // FRAMES), chunksize=20)
        thumbs = np.concatenate([thumbs for thumbs, _ in made])
        measuring = sum(seconds for _, seconds in made) / len(thumbs)
        print(f"{kind}: a thumbnail takes {1e3 * measuring:.2f} ms on one core")
        for count in counts:
            begin, used = time.perf_counter(), time.process_time()
            groups = near_duplicates(thumbs[:count], warn=lambda text: print("  warning:", text))
            took, used = time.perf_counter() - begin, time.process_time() - used
            root = np.arange(count)
            for group in groups:
                root[group] = group[0]
            of_burst = root.reshape(-1, FRAMES)
            whole = (of_burst == of_burst[:, :1]).all(axis=1)
            mixing = sum(len({number // FRAMES for number in group}) > 1 for group in groups)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"  {count:,} frames: {took:.1f} s ({used:.1f} s of processor time), {whole.sum():,} of {len(whole):,} bursts "
                f"whole ({whole.mean():.2%}), {mixing} groups hold several bursts, peak {peak:.0f} MB",
                flush=True,
            )


def burst(kind: str, number: int) -> tuple[np.ndarray, float]:
    """Thumbnails of the frames, and the seconds that `measure` took."""
    rng = np.random.default_rng([number, list(SHIFT).index(kind)])
    scene = draw(KINDS[number % len(KINDS)], number // len(KINDS), SIZE)
    width, height = scene.size
    thumbs, seconds = [], 0.0
    for _ in range(FRAMES):
        left, top = rng.uniform(0, SHIFT[kind], 2)
        box = (left * width, top * height, (left + 0.96) * width, (top + 0.96) * height)
        frame = np.asarray(scene.resize(SIZE, Image.Resampling.BICUBIC, box=box), np.float32)
        frame = frame * rng.uniform(0.985, 1.015) + rng.normal(0, 3, (height, width, 1))
        data = save(Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8)), int(rng.integers(70, 95)))
        begin = time.perf_counter()
        thumbs.append(measure(data)[1])
        seconds += time.perf_counter() - begin
    return np.stack(thumbs), seconds


def originals(data: str | None, count: int = 200) -> list[Image.Image]:
    if data is None:
        return [draw(KINDS[number % len(KINDS)], number // len(KINDS), (320, 240)) for number in range(count)]
    dataset = open_data(data, SILENT)
    chosen = np.random.default_rng(0).permutation(len(dataset.pictures))[:count]
    return [Image.fromarray(decode(dataset.read(dataset.pictures[number]))) for number in sorted(chosen)]


def kinds(pictures: list[Image.Image]) -> None:
    before = [measure(save(picture, 90))[1] for picture in pictures]
    for name, change in TRANSFORMATIONS.items():
        after = [measure(save(change(picture), 30 if "quality" in name else 90))[1] for picture in pictures]
        groups = near_duplicates(np.stack(before + after))
        count = len(pictures)
        of = {number: group for group in groups for number in group}
        together = sum(number + count in of.get(number, ()) for number in range(count))
        wrong = sum(len({number % count for number in group}) > 1 for group in groups)
        print(f"{name}: {together} of {count} found; {wrong} groups of different pictures")


def save(picture: Image.Image, quality: int) -> bytes:
    picture.save(buffer := io.BytesIO(), "JPEG", quality=quality)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
