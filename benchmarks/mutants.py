"""Which tests notice which mistake? Writes each mistake into a copy of the project and runs the tests of that file.

    python benchmarks/mutants.py [FILE ...]     # such as packets.py; default: all

Prints a Markdown table; exits with 1 if a mistake survives.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

# File -> its tests and its mistakes: name -> (text in the file, what it becomes).
CONTEXT = {
    "multiplied instead of added": (
        "out = out + to_positions(",
        "out = out * to_positions(",
    ),
    "attention ignored (average)": (
        "(x, mean_pooling(x)) if self.conv_mask is None else",
        "(x, mean_pooling(x)) if True else",
    ),
    "no LayerNorm": ("F.layer_norm(x, weight.shape, weight, bias, self.eps)", "x"),
    "last layer not zero at the start": ("zero_(cast(Conv, transform[-1]))", "pass"),
    "no sigmoid": (
        "torch.sigmoid(_transformed(context, self.channel_mul_conv))",
        "_transformed(context, self.channel_mul_conv)",
    ),
}

POOLING = {
    "softmax for each frame": (
        "logits.softmax(dim=1, ",
        "logits.view(len(x), x.shape[2], -1).softmax(dim=2, "
        "dtype=torch.double if x.dtype == torch.double else torch.float32).flatten(1) "
        "if x.ndim == 5 else logits.softmax(dim=1, ",
    ),
    "softmax over the wrong axis": ("logits.softmax(dim=1, ", "logits.softmax(dim=0, "),
    "no softmax": ("logits.softmax(dim=1, ", "logits.to("),
    "T and C swapped": (
        "x.flatten(2).transpose(1, 2))",
        "(x.transpose(1, 2).reshape(x.shape) if x.ndim == 5 else x).flatten(2).transpose(1, 2))",
    ),
    "no gradient of the softmax": (
        "attention * (grad_weights - (attention * grad_weights).sum(dim=1, keepdim=True))",
        "attention * grad_weights",
    ),
    "no gradient through the mask": ("grad.addcmul_(", "grad.addcmul("),
    "gradient past the pooling left out": ("torch.addcmul(grad_x, ", "torch.addcmul(torch.zeros_like(grad_x), "),
    "gradient of the attention left out": ("if grad_attention is not None:", "if False:"),
}

LAYERS = {
    "a dilation that dilates": ("(*self.dilation[:2], 2)", "(2, 1, 2)"),
    "the dilation of the layer is lost": ("(*self.dilation[:2], 2)", "(1, 1, 2)"),
    "borders are zeros in any padding mode": ('or self.padding_mode != "zeros"', ""),
    "wide kernels are dilated": ("self.kernel_size[2] > 1 or ", ""),
    "the sum of a residual block forgets the shortcut": ("branch.add_(shortcut) if", "branch if"),
}

FUSING = {
    "folded over a block between": ("and not between", ""),
    "an inserted block is lost": (
        "norm.__class__ = nn.Identity",
        "norm.__class__ = nn.Identity; norm._forward_hooks.clear()",
    ),
    "the model itself is folded": ("copy.deepcopy(model).eval()", "model.eval()"),
    "a weight that is computed is folded": ('if "weight" not in conv._parameters:', "if False:"),
}

RECOMPUTING = {
    "statistics move twice": ("= 0.0, None if", "= norm.momentum, None if"),
    "batches are counted twice": ("count.clone()", "count"),
    "nothing is recomputed": ("if not torch.is_grad_enabled():", "if True:"),
}

NON_LOCAL = {
    "softmax without the scale": ("self.planes**-0.5 if", "1.0 if"),
    "projected, then pooled": ("if self.pool_first:", "if not self.pool_first:"),
    "dot product not divided by M": ("@ (g / g.shape[1])", "@ g"),
    "theta and phi swapped": (
        "theta @ (phi.transpose(1, 2) @ (g / g.shape[1]))",
        "phi @ (theta.transpose(1, 2) @ (g / g.shape[1]))",
    ),
    "no residual": ("return (x + z).to(x.dtype)", "return z.to(x.dtype)"),
    "keys of the concatenation not sorted": (
        "b.sort(dim=1, descending=True)",
        "(b, torch.arange(b.shape[1]).expand_as(b))",
    ),
    "ReLU of the concatenation left out": (
        "torch.searchsorted(-b.detach(), a.detach())",
        "torch.full_like(a, b.shape[1]).long()",
    ),
    "an N x M matrix after all": (
        ".contiguous() for features in (theta, phi, values)",
        " for features in (theta, phi, values)",
    ),
    "gamma not zero at the start": ("nn.init.zeros_(self.norm.weight)", "pass"),
}
WEIGHTS = {
    "kernels repeated and not divided": (
        "kernel[:, :, None].expand_as(own) / frames",
        "kernel[:, :, None].expand_as(own)",
    ),
    "first frame instead of the middle": ("inflated[:, :, frames // 2]", "inflated[:, :, 0]"),
    "missing tensors are ignored": ('return _Fate("problem", f"{key} is not in the file")', 'return _Fate("new", key)'),
    "superfluous tensors are ignored": ("problems = _superfluous(file, own) + ", "problems = "),
}
SAME_FUNCTION = {
    "options of NL not compared": (
        "return _matters(block, option) and getattr(block, option) != value",
        "return False",
    ),
    "untold options not asked for": ("if not untold:", "if True:"),
    "pooling of time not compared": (
        "if told.pools_time is not None and told.pools_time != own.pools_time:",
        "if False:",
    ),
    "sites not compared": ("if theirs != ours:", "if False:"),
}
READING = {
    "pickles are run": ("if (module, name) not in _GLOBALS:", "if False:"),
}
COMPARISON = {
    "unpaired": (
        "[values[seed] - base[seed] for seed in shared]",
        "[a - b for a, b in zip(sorted(values.values()), sorted(base.values()))]",
    ),
    "too few seeds are called not significant": ("reachable_p >= ALPHA", "False"),
    "too few seeds without the correction": (
        "reachable.get(variant, 1.0)",
        "smallest_p(test.num_seeds) if test else 1",
    ),
}
STATISTICS = {
    "not corrected for the number of variants": ("p * (len(p_values) - step)", "p"),
    "normal instead of t": (
        "stats.t.ppf((1 + CONFIDENCE) / 2, num_seeds - 1)",
        "stats.norm.ppf((1 + CONFIDENCE) / 2)",
    ),
    "signs flipped one-sided": ("np.abs((1 - 2 * bits) @ np.asarray(differences))", "(1 - 2 * bits) @ differences"),
    "equal means are not found": (" - _NOISE", ""),
    "the observed signs are not one of the choices": ("        bits[0] = 0", "        #"),
    "a seed at the threshold has not passed": ("value >= threshold", "value > threshold"),
    "McNemar on videos that both have right": ("variant[video] and not baseline[video]", "variant[video]"),
    "videos of one run count": ("variant.keys() & baseline.keys()", "variant.keys()"),
}
INTERVAL = {"not shrunk": ("shrink = 1 + _Z**2 / num_videos", "shrink = 1.0")}
SUMMARY = {
    "rows and columns of the confusion matrix swapped": (
        "labels * num_classes + predicted",
        "predicted * num_classes + labels",
    ),
    "accuracy over the predictions of a class": ("matrix.sum(dim=1)", "matrix.sum(dim=0)"),
    "clips counted once per video": ("_share(results.better < 1)", "_share((results.better < 1).all(dim=1))"),
}
METRICS = {
    "logits averaged instead of probabilities": (
        "probabilities(logits.float(), multi_label).mean(dim=1)",
        "probabilities(logits.float().mean(dim=1), multi_label)",
    ),
    "a tie counts for the true class": ("(not_worse & ~is_true).sum(dim=2)", "(logits > true_logit).sum(dim=2)"),
    "a tie is predicted as the true class": ("torch.where(is_correct, best_true, best_other)", "scores.argmax(dim=1)"),
    "a video may be counted twice": ("if len(unique) != num_videos:", "if False:"),
    "results in the order of the batches": ("order = indices.argsort()", "order = torch.arange(num_videos)"),
    "one video loses its dimensions": ("torch.atleast_1d(indices, labels)", "indices, labels"),
    "a class that no video has counts as nothing": (
        "torch.where(labels.any(dim=0), found, math.nan)",
        "torch.where(labels.any(dim=0), found, 0)",
    ),
}
OBJECTIVE = {
    "several classes share a softmax": ("logits.sigmoid() if multi_label", "logits.softmax(dim=-1) if multi_label"),
    "weights of the negative clips, too": ("pos_weight=class_weights", "weight=class_weights"),
    "smoothed towards one": ("+ label_smoothing / 2", "+ label_smoothing"),
}
PACKETS = {
    "a picture decoded from the key packet in front of it, though it refers beyond": (
        "if self.pts[key] <= self.pts[number]",
        "if True",
    ),
    "decoding begins at any packet marked as key": (
        "if self.is_key[number] and not _is_start(self.codec, bytes(packet), self._extradata):",
        "if False:",
    ),
    "edit list ignored": ("is_shown.append(not packet.is_discard)", "is_shown.append(True)"),
    "every packet of every codec counted as a frame": ("self.codec in _INDEXED", "True"),
}
PYAV = {
    "requested pictures are skipped": ("_DEFAULT if number in requested else skip_unrequested", "skip_unrequested"),
    "pictures skipped in every codec": ('_NONREF if file.codec == "h264" else _DEFAULT', "_NONREF"),
    "turned the other way": ("rotation // 90 % 4", "-rotation // 90 % 4"),
}
DECORD = {
    "decord used on edit lists": ("if not file.is_shown.all():", "if False:"),
    "decord used on open groups": ("if not file.keys_are_idr or file.has_open_gop:", "if False:"),
}
STREAMS = {
    "workers keep their roles after a resume": ("(worker + first_batch) % workers", "worker"),
    "ranks begin at the same video": ("share.rank * share.batches", "0 * share.batches"),
    "the same order in every epoch": ("(0 if self.share.repeats else number)", "0"),
    "another order in a pass that repeats": ("(0 if self.share.repeats else number)", "number"),
}
SHARDS = {
    "members in any order": ("if number != first:", "if False:"),
    "two files under a number": ("(pending and pending[0] == int(key))", "False"),
    "a shard that ends early": (
        "            if first < last:\n                raise EOFError",
        "            if False:\n                raise EOFError",
    ),
}
JOURNAL = {
    "a line cut short counts": ("if complete < len(data):", "if False:"),
    "settings not compared": ("if settings[key] != before.get(key)", "if False"),
}
ARCHIVES = {
    "links are unpacked": ("if not (member.isreg() or member.isdir())", "if (False)"),
    "the end of an archive is not looked at": ("            _check_end(tar)\n", ""),
}
SCHEDULE = {
    "the optimizer keeps the checkpoint's settings": (
        "            group.update(settings)\n",
        "            pass\n",
    ),
    "the schedule moves the groups of other callbacks": ("param_groups[: len(self._settings)]", "param_groups"),
    "the rate is not scaled": ('self.optim.peak_lr(pl_module.hparams["lr"], batch)', 'pl_module.hparams["lr"]'),
    "warm-up ends at the peak": ("(after_warmup - self.warmup_start)", "(1 - self.warmup_start)"),
}
MUTANTS = {
    "gcvideo/data/decode/packets.py": ("tests/data/test_corpus.py", PACKETS),
    "gcvideo/data/decode/pyav_reader.py": ("tests/data/test_corpus.py", PYAV),
    "gcvideo/data/decode/decord_reader.py": ("tests/data/test_corpus.py", DECORD),
    "gcvideo/data/shards/streams.py": ("tests/data/test_shards.py tests/data/test_datamodule.py", STREAMS),
    "gcvideo/data/shards/reading.py": ("tests/data/test_shards.py", SHARDS),
    "gcvideo/dataset_tools/journal.py": ("tests/dataset_tools/test_prepare.py", JOURNAL),
    "gcvideo/dataset_tools/archives.py": ("tests/dataset_tools/test_mirror.py", ARCHIVES),
    "gcvideo/blocks/context.py": ("tests/blocks", CONTEXT),
    "gcvideo/blocks/pooling.py": ("tests/blocks", POOLING),
    "gcvideo/blocks/layers.py": ("tests/blocks/test_layers.py tests/models/test_zoo.py", LAYERS),
    "gcvideo/models/fusing.py": ("tests/models/test_fusing.py", FUSING),
    "gcvideo/models/recomputing.py": ("tests/models/test_recomputing.py", RECOMPUTING),
    "gcvideo/blocks/non_local.py": ("tests/blocks", NON_LOCAL),
    "gcvideo/models/loading.py": ("tests/models/test_weights.py", WEIGHTS),
    "gcvideo/models/same_function.py": (
        "tests/models/test_weights.py tests/models/test_same_function.py",
        SAME_FUNCTION,
    ),
    "gcvideo/models/caffe2_file.py": ("tests/models/test_weights.py", READING),
    "gcvideo/sweep/comparison.py": ("tests/sweep/test_comparison.py", COMPARISON),
    "gcvideo/sweep/statistics.py": ("tests/sweep/test_statistics.py", STATISTICS),
    "gcvideo/report/interval.py": ("tests/report/test_interval.py", INTERVAL),
    "gcvideo/report/summary.py": ("tests/report/test_summary.py", SUMMARY),
    "gcvideo/training/metrics.py": ("tests/training/test_metrics.py tests/training/test_objective.py", METRICS),
    "gcvideo/training/objective.py": ("tests/training/test_objective.py", OBJECTIVE),
    "gcvideo/training/schedule.py": ("tests/training", SCHEDULE),
}


def failing_tests(file: str, tests: str, source: str) -> list[str]:
    """Names of the tests that fail with this source of `file`, without their parameters."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "runs", "__pycache__", ".*_cache"))
        (copy / file).write_text(source)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests.split()]
        environment = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin", "HOME": folder}
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, env=environment)
    return sorted(set(re.findall(r"^(?:FAILED|ERROR) tests/[\w/]+\.py(?:::(\w+))?", done.stdout, re.MULTILINE)))


def main() -> int:
    survived = 0
    print("| file | mistake | killed by |\n|---|---|---|")
    for file, (tests, mistakes) in MUTANTS.items():
        if sys.argv[1:] and Path(file).name not in sys.argv[1:]:
            continue
        source = (ROOT / file).read_text()
        if broken := failing_tests(file, tests, source):
            print(f"the tests fail without a mistake: {broken}", file=sys.stderr)
            return 2
        for name, (text, mistake) in mistakes.items():
            if text not in source:
                print(f"{file} no longer has {text!r}", file=sys.stderr)
                return 2
            killers = failing_tests(file, tests, source.replace(text, mistake))
            survived += not killers
            shown = ", ".join(f"`{test}`" for test in killers[:3]) + (
                f" and {len(killers) - 3} more" if len(killers) > 3 else ""
            )
            print(f"| {Path(file).name} | {name} | {shown or '**nothing**'} |", flush=True)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
