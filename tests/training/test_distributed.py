"""Two CPU processes (gloo): every video is counted once, the scores are those of one process."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import pytorch_lightning as pl, torch
from gcvideo.data.datamodule import VideoDataModule
from gcvideo.data.sampling import Clip
from gcvideo.data.transforms import Augmentation, Views
from gcvideo.training.task import VideoTask

class Keep(pl.Callback):
    def __init__(self):
        self.seen = []
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.seen.append(batch[2].tolist())
    def on_test_end(self, trainer, module):
        indices, _, _, scores = module.scores.compute()
        result = dict(indices=indices.tolist(), scores=scores.tolist(), seen=self.seen, rank=trainer.global_rank,
                      top1=trainer.callback_metrics["test/video_top1"].item())
        json.dump(result, open(f"{sys.argv[2]}.{trainer.global_rank}", "w"))

if __name__ == "__main__":
    manifest, out, devices = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    pl.seed_everything(0, workers=True)
    data = VideoDataModule(manifest, clip=Clip(frames=4, stride=1), augment=Augmentation(32, (32, 36)),
                           views=Views(temporal=2), batch_size=3, num_workers=0)
    task = VideoTask(data.class_names, "slowonly_tiny", "gc_all", dropout=0.0)
    trainer = pl.Trainer(accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto", logger=False,
                         use_distributed_sampler=False, enable_checkpointing=False, enable_progress_bar=False,
                         max_epochs=1, num_sanity_val_steps=0, callbacks=[Keep()])
    trainer.test(task, data, verbose=False)
    trainer.fit(task, data)
    trainer.callbacks[0].on_test_end = lambda *a: None
    json.dump(trainer.callbacks[0].seen, open(f"{out}.seen.{trainer.global_rank}", "w"))
"""


@pytest.mark.slow
def test_two_processes_count_as_one(tmp_path, synthetic):
    """5 test videos on 2 ranks: uneven on purpose."""
    lines = synthetic.read_text().splitlines()
    manifest = synthetic.with_name("uneven.csv")
    manifest.write_text("\n".join(lines[:-1]) + "\n")
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    for devices in (1, 2):
        command = [sys.executable, str(script), str(manifest), str(tmp_path / f"out{devices}"), str(devices)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, first, second = (json.loads((tmp_path / name).read_text()) for name in ("out1.0", "out2.0", "out2.1"))
    assert one["indices"] == first["indices"] == second["indices"] == list(range(5))
    assert first["top1"] == second["top1"] == pytest.approx(one["top1"])
    for own, other in zip(first["scores"], one["scores"]):
        assert own == pytest.approx(other, abs=1e-5)
    seen = [json.loads((tmp_path / f"out2.seen.{rank}").read_text()) for rank in (0, 1)]
    both = [index for batches in seen for batch in batches for index in batch]
    assert len(both) == len(set(both)) == 12
    assert [len(batches) for batches in seen] == [2, 2]
