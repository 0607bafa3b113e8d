"""Can the label of a synthetic video be read from less than both objects in motion?

    python benchmarks/shortcuts.py [--videos 1500] [--epochs 8]

Trains the demo's network with blocks (the one that solves the task) on what a shortcut would have: one frame repeated,
the upper object alone, the lower object alone; and on everything. Prints held-out accuracies in the same run.
"""

import argparse

import torch
from torch import nn

from gcvideo import create_model
from gcvideo.dataset_tools.scene import CLASS_NAMES, make_video

CLIP_FRAMES, BATCH, TEST_VIDEOS = 8, 4, 300


def clips(first_seed: int, count: int, visible: tuple[bool, bool], still: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised clips [count, 3, T, 64, 64] and labels."""
    labels = torch.arange(count) % len(CLASS_NAMES)
    near = [first_seed == 0 and i // len(CLASS_NAMES) % 2 == 0 for i in range(count)]  # as in the training split
    frames = torch.stack(
        [
            torch.from_numpy(make_video(first_seed + i, int(label), CLIP_FRAMES, visible=visible, near=near[i]))
            for i, label in enumerate(labels)
        ]
    )  # [count, T, 64, 64, 3]
    if still:
        frames = frames[:, CLIP_FRAMES // 2 :][:, :1].expand(-1, CLIP_FRAMES, -1, -1, -1)
    return (frames.permute(0, 4, 1, 2, 3).float() / 255 - 0.45) / 0.225, labels


def accuracy(visible: tuple[bool, bool], still: bool, videos: int, epochs: int) -> float:
    """Held-out top-1 after training on what is visible."""
    torch.manual_seed(0)
    x, y = clips(0, videos, visible, still)
    held_x, held_y = clips(10**6, TEST_VIDEOS, visible, still)
    model = create_model("slowonly_tiny", "gc_all", len(CLASS_NAMES), dropout=0.0, site="after_block")
    model = model.to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.004, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (videos // BATCH))
    for _ in range(epochs):
        for chosen in torch.randperm(videos)[: videos // BATCH * BATCH].split(BATCH):
            batch = x[chosen].contiguous(memory_format=torch.channels_last_3d)
            loss = nn.functional.cross_entropy(model(batch), y[chosen])
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
    parser.add_argument("--videos", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(2)
    print("| the network sees | best possible | held-out top-1 |\n|---|---|---|")
    for name, best, visible, still in (
        ("one frame, repeated", 1 / 6, (True, True), True),
        ("the upper object alone", 1 / 2, (True, False), False),
        ("the lower object alone", 1 / 2, (False, True), False),
        ("everything", 1.0, (True, True), False),
    ):
        print(f"| {name} | {best:.2f} | {accuracy(visible, still, given.videos, given.epochs):.3f} |", flush=True)


if __name__ == "__main__":
    main()
