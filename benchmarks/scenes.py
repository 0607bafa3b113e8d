"""How well `gcvideo check` finds static scenes that splits share: against a manifest whose column `group` names scenes.

    python benchmarks/scenes.py MANIFEST

Prints precision and recall over all pairs of videos, of the backgrounds and of the older hash (`look_of`), and what is
found after a random split that knows no groups.
"""

import argparse
import os
import random
from pathlib import Path

import numpy as np

from gcvideo.dataset_tools.check import examine_all
from gcvideo.dataset_tools.entries import read_entries
from gcvideo.dataset_tools.examine import VideoFacts
from gcvideo.dataset_tools.findings import LOOK_BITS
from gcvideo.dataset_tools.pool import open_pool
from gcvideo.dataset_tools.scenes import CORRELATION, gradients, shared_scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    entries = read_entries(parser.parse_args().manifest.resolve())
    with open_pool(os.cpu_count() or 1, None, os.path.dirname(entries[0].file)) as pool:
        facts = examine_all(entries, False, pool, 60)
    kept = [
        (e, f) for e, f in zip(entries, facts, strict=True) if isinstance(f, VideoFacts) and f.background and f.look
    ]
    groups = np.array([entry.columns["group"] for entry, _ in kept])
    labels = np.array([entry.label for entry, _ in kept])
    upper = np.triu_indices(len(kept), 1)
    same = (groups[:, None] == groups)[upper]
    vectors = gradients([fact.background for _, fact in kept])
    correlations = (vectors @ vectors.T)[upper]
    bits = np.array([np.unpackbits(np.frombuffer(bytes.fromhex(fact.look), np.uint8)) for _, fact in kept], float)
    distances = (bits @ (1 - bits).T + (1 - bits) @ bits.T)[upper]
    print(f"{len(kept)} videos, {same.sum()} pairs of one group, {len(same)} in all")
    for name, found in ((f"hash, {LOOK_BITS} bits", distances <= LOOK_BITS), *(
        (f"background, {threshold}", correlations >= threshold) for threshold in (0.7, 0.75, CORRELATION, 0.85, 0.9)
    )):  # fmt: skip
        print(f"{name:18} {found.sum():5} pairs, precision {same[found].mean():.3f}, recall {found[same].mean():.3f}")
    for label in sorted(set(labels)):
        of_class = same & (labels[upper[0]] == label)
        print(f"  {label:18} recall {(correlations >= CORRELATION)[of_class].mean():.3f}")
    rng = random.Random(0)
    for name, splits in (
        ("random split", [rng.choices(("train", "test"), (7, 3))[0] for _ in kept]),
        ("its own splits", [entry.split for entry, _ in kept]),
    ):
        found = list(shared_scenes(splits, [fact.background for _, fact in kept]))
        true = sum(groups[scene.index] == groups[scene.other] for scene in found)
        smaller = min(splits.count(split) for split in set(splits))
        print(f"{name}: {len(found)} of {smaller} videos show a scene of the larger part, {true} by their group")
        for scene in found:
            if groups[scene.index] != groups[scene.other]:
                print(f"  {kept[scene.index][0].name} {kept[scene.other][0].name} {scene.correlation:.2f}")


if __name__ == "__main__":
    main()
