"""What a manifest of 650,000 rows costs: time to load, memory of the parent and of each worker, start of workers.

    python -m benchmarks.scale [--rows 650000] [--workers 4]

Makes (empty) files in a temporary folder, loads their manifest as training does, and starts a DataLoader whose items
only look up the row. Memory of a worker is its private memory ("private dirty"), compared with that of rows as a list
of objects.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from gcvideo.data.loading import start_worker
from gcvideo.data.manifest import read_manifest


class Rows(Dataset):
    """Looks up rows; an item is the private memory of the worker in MiB, after 1/100 of all rows."""

    def __init__(self, videos):
        self.videos = videos

    def __len__(self):
        return 100

    def __getitem__(self, index):
        for row in range(index, len(self.videos), 100):
            self.videos[row]  # over all items, every row is touched
        return private_mib()


def private_mib():
    """Memory in MiB that no other process shares with this one."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024


def make(folder, rows):
    """Empty files in 700 folders, and their manifest."""
    lines = ["path,label,split,num_frames,fps,width,height,sha256"]
    for label in range(700):
        class_folder = folder / "train" / f"class {label:03d}"
        class_folder.mkdir(parents=True)
        for number in range(label, rows, 700):
            name = f"abcdefgh{label:03d}_{number:06d}_{number + 10:06d}.mp4"
            os.close(os.open(class_folder / name, os.O_CREAT))
            sums = f"{number:016x}"
            lines.append(f"train/class {label:03d}/{name},class {label:03d},train,300,29.97,340,256,{sums}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def workers_cost(videos, workers):
    """(seconds until every worker has returned an item, private MiB of a worker at its last item)."""
    loader = DataLoader(Rows(videos), batch_size=None, num_workers=workers, worker_init_fn=start_worker)
    began = time.perf_counter()
    items = iter(loader)
    first = [next(items) for _ in range(workers)]
    seconds = time.perf_counter() - began
    return seconds, max(first), max(items)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=650_000)
    parser.add_argument("--workers", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        manifest = make(Path(folder), args.rows)
        print(f"{args.rows} rows, {manifest.stat().st_size / 2**20:.0f} MiB of CSV")
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            videos = read_manifest(manifest, "train")
            seconds.append(time.perf_counter() - began)
        print(f"load: {sorted(seconds)[2]:.2f} s (median of 5: {', '.join(f'{second:.2f}' for second in seconds)})")
        size = sum(column.nbytes for column in (videos._bytes, videos._ends, videos.labels))
        print(f"rows in memory: {size / 2**20:.0f} MiB, shared by all workers")
        rows = (("columns", videos), ("list of objects", list(videos)))
        print("\n| rows are | workers | start of all, s | a worker's own MiB, at first | after all rows |")
        print("|---|---|---|---|---|")
        for name, rows_in_memory in rows:
            seconds, first, last = workers_cost(rows_in_memory, args.workers)
            print(f"| {name} | {args.workers} | {seconds:.2f} | {first:.0f} | {last:.0f} |")


if __name__ == "__main__":
    main()
