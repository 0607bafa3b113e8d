"""Can the label of a synthetic video be read from less than both bands in motion?

    python benchmarks/shortcuts.py runs/demo_trunk/checkpoints/best.ckpt [--videos 1200] [--epochs 5]

Fine-tunes the demo's trunk with blocks (the network that solves the task) on what a shortcut would have: one frame
repeated, the upper band alone, the lower band alone; and on everything. Prints accuracies on held-out videos.
"""

import argparse

import torch
from torch import nn

from gcvideo import create_model
from gcvideo.dataset_tools.scene import CLASS_NAMES, make_video
from gcvideo.dataset_tools.synthetic import upper_direction

CLIP_FRAMES, BATCH, TEST_VIDEOS = 6, 4, 300


def clips(seed: int, count: int, visible: tuple[bool, bool], still: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised clips [count, 3, T, 64, 64] and labels."""
    labels = torch.arange(count) % len(CLASS_NAMES)
    videos = []
    for index, label in enumerate(labels.tolist()):
        upper = upper_direction(label, index // len(CLASS_NAMES))
        videos.append(torch.from_numpy(make_video((seed, index), label, upper, CLIP_FRAMES, visible=visible)))
    frames = torch.stack(videos)  # [count, T, 64, 64, 3]
    if still:
        frames = frames[:, CLIP_FRAMES // 2 :][:, :1].expand(-1, CLIP_FRAMES, -1, -1, -1)
    return (frames.permute(0, 4, 1, 2, 3).float() / 255 - 0.45) / 0.225, labels


def accuracy(trunk: str, visible: tuple[bool, bool], still: bool, videos: int, epochs: int) -> float:
    """Held-out top-1 after fine-tuning on what is visible."""
    torch.manual_seed(0)
    x, y = clips(0, videos, visible, still)
    held_x, held_y = clips(1, TEST_VIDEOS, visible, still)
    model = create_model("slowonly_tiny", "gc_all", len(CLASS_NAMES), dropout=0.0, weights=trunk)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (videos // BATCH))
    for _ in range(epochs):
        for chosen in torch.randperm(videos)[: videos // BATCH * BATCH].split(BATCH):
            loss = nn.functional.cross_entropy(model(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(dim=1) for part in held_x.split(50)])
    return (predicted == held_y).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trunk", help="checkpoint of configs/demo_trunk.yaml")
    parser.add_argument("--videos", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| the network sees | best possible | held-out top-1 |\n|---|---|---|")
    for name, best, visible, still in (
        ("one frame, repeated", 1 / 6, (True, True), True),
        ("the upper band alone", 1 / 2, (True, False), False),
        ("the lower band alone", 1 / 2, (False, True), False),
        ("everything", 1.0, (True, True), False),
    ):
        print(
            f"| {name} | {best:.2f} | {accuracy(given.trunk, visible, still, given.videos, given.epochs):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
