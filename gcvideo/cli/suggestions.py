"""What a wrong word on the command line may have meant: other projects' names of verbs and options, and near misses.

Light: `main` needs it before anything of torch is imported.
"""

import difflib
from collections.abc import Sequence

# Words of other command lines -> our verb.
VERBS = {
    "train": "fit", "training": "fit", "finetune": "fit", "resume": "fit",
    "eval": "test", "evaluate": "test", "evaluation": "test", "benchmark": "test", "val": "validate",
    "infer": "predict", "inference": "predict", "classify": "predict", "recognize": "predict", "label": "predict",
    "compare": "report", "results": "report",
    "convert": "export", "onnx": "export",
    "get": "download", "fetch": "download",
    "demo": "serve", "app": "serve", "gui": "serve", "web": "serve",
    "gradcam": "attend", "cam": "attend", "visualize": "attend", "attention": "attend", "analyse": "analyze",
    "preprocess": "prepare", "verify": "check", "info": "doctor", "flops": "table", "complexity": "table",
    "search": "sweep", "grid": "sweep",
}  # fmt: skip

# Last part of an option in other projects (argparse scripts, mmaction2, PySlowFast, Hugging Face) -> our option.
OPTIONS = {
    "lr": "model.lr", "learning_rate": "model.lr", "base_lr": "model.lr",
    "batch_size": "data.batch_size", "train_batch_size": "data.batch_size", "bs": "data.batch_size",
    "per_device_train_batch_size": "data.batch_size", "eval_batch_size": "data.loading.eval_batch_size",
    "workers": "data.num_workers", "num_workers": "data.num_workers", "dataloader_num_workers": "data.num_workers",
    "epochs": "trainer.max_epochs", "max_epochs": "trainer.max_epochs", "max_epoch": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs", "num_train_epochs": "trainer.max_epochs", "iterations": "trainer.max_steps",
    "gpus": "trainer.devices", "num_gpus": "trainer.devices", "devices": "trainer.devices",
    "device": "trainer.accelerator", "accelerator": "trainer.accelerator", "nodes": "trainer.num_nodes",
    "fp16": "trainer.precision", "amp": "trainer.precision", "bf16": "trainer.precision",
    "grad_clip": "trainer.gradient_clip_val", "accumulation_steps": "trainer.accumulate_grad_batches",
    "output_dir": "runs_dir", "out_dir": "runs_dir", "work_dir": "runs_dir", "log_dir": "runs_dir",
    "save_dir": "runs_dir", "output": "runs_dir",
    "seed": "seed_everything", "resume": "ckpt_path", "checkpoint": "ckpt_path", "ckpt": "ckpt_path",
    "run_name": "name", "exp_name": "name", "experiment": "name", "ema": "ema_decay",
    "dataset": "data.manifest", "data_dir": "data.manifest", "data_path": "data.manifest", "manifest": "data.manifest",
    "csv": "data.manifest", "ann_file": "data.manifest", "annotations": "data.manifest", "data_root": "data.root",
    "num_frames": "data.clip.frames", "clip_len": "data.clip.frames", "frames": "data.clip.frames",
    "sampling_rate": "data.clip.stride", "frame_interval": "data.clip.stride", "stride": "data.clip.stride",
    "fps": "data.clip.target_fps", "crop_size": "data.augment.size", "image_size": "data.augment.size",
    "num_clips": "data.views.temporal", "num_views": "data.views.temporal", "num_crops": "data.views.spatial",
    "model": "model.network", "arch": "model.network", "backbone": "model.network", "network": "model.network",
    "blocks": "model.blocks", "pretrained": "model.weights", "weights": "model.weights", "dropout": "model.dropout",
    "optimizer": "model.optim.name", "weight_decay": "model.optim.weight_decay", "wd": "model.optim.weight_decay",
    "momentum": "model.optim.momentum", "warmup_epochs": "model.schedule.warmup_epochs",
    "label_smoothing": "model.optim.label_smoothing", "scheduler": "model.schedule.name",
}  # fmt: skip


def meant_verb(word: str, verbs: Sequence[str]) -> list[str]:
    """Verbs that a wrong one may have meant, the likeliest first."""
    word = word.lower()
    synonyms = [VERBS[near] for near in ([word] if word in VERBS else _near(word, list(VERBS), 1, 0.75))]
    spelled = [] if word in VERBS else _near(word, verbs, 2, 0.6)
    return [verb for verb in dict.fromkeys([*spelled, *synonyms]) if verb in verbs]


def meant_option(name: str, options: Sequence[str]) -> list[str]:
    """Options that a wrong one may have meant, without the hyphens before it; the likeliest first.

    First by meaning ("learning_rate": model.lr), then by the same last part ("optimizer.momentum":
    model.optim.momentum), then by spelling.
    """
    name = name.lower().replace("-", "_")
    last = name.rpartition(".")[2]
    by_meaning = OPTIONS.get(name) or OPTIONS.get(last)
    same_last = [option for option in options if option.rpartition(".")[2] == last]
    near = _near(name, options, 3, 0.5)
    found = dict.fromkeys([*([by_meaning] if by_meaning else []), *same_last, *near])
    return [option for option in found if option in options][:3]


def _near(word: str, words: Sequence[str], count: int, cutoff: float) -> list[str]:
    return difflib.get_close_matches(word, words, count, cutoff)
