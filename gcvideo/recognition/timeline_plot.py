"""The plot of a timeline: a band of segments, and the probabilities of the classes that have one."""

from itertools import pairwise

from matplotlib.figure import Figure

from gcvideo.figures import INK, MUTED, literal, png
from gcvideo.recognition.timeline import Timeline

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart (Nature Methods 8:441, 2011).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7")
OTHER = "#bbbbbb"
_DARK = ("#0072b2", "#009e73", "#d55e00")  # on which white is readable
MAX_NAME = 24  # characters
WIDTH_IN = 10
_CHARACTER_IN = 0.085  # width of a character of a segment's label, in inches


def plot(timeline: Timeline) -> bytes:
    """A PNG file. Classes beyond the number of colours are grey; names are written where their segment has room."""
    held: dict[str, float] = {}
    for segment in timeline.segments:
        held[segment.label] = held.get(segment.label, 0) + segment.end_s - segment.start_s
    named = sorted(held, key=lambda name: -held[name])[: len(COLOURS)]
    if not named:  # no class ever happens: the curves of the likeliest
        likeliest = timeline.scores.amax(dim=0).argsort(descending=True)[: len(COLOURS)]
        named = [timeline.class_names[index] for index in likeliest.tolist()]
    colours = dict(zip(named, COLOURS, strict=False))
    figure = Figure(figsize=(WIDTH_IN, 3.2))
    band, curves = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
    adjoin = all(one.end_s == other.start_s for one, other in pairwise(timeline.segments))
    # Segments that overlap have a line for each class.
    lines = {label: 0 if adjoin else -number for number, label in enumerate(held)}
    for segment in timeline.segments:
        width = segment.end_s - segment.start_s
        colour = colours.get(segment.label, OTHER)
        line = lines[segment.label]
        band.barh(line, width, left=segment.start_s, color=colour, edgecolor="white", height=1)
        text = segment.label[:MAX_NAME]
        if len(text) * _CHARACTER_IN < width / timeline.duration_s * WIDTH_IN * 0.8:
            band.text(segment.start_s + width / 2, line, literal(text), ha="center", va="center",
                      color="white" if colour in _DARK else INK, fontsize=9, fontweight="bold")  # fmt: skip
    centres = [(span.start_s + span.end_s) / 2 for span in timeline.spans]
    for name in named:
        scores = timeline.scores[:, timeline.class_names.index(name)].tolist()
        curves.plot(centres, scores, "o-", ms=2.5, lw=1.5, color=colours[name], label=literal(name[:MAX_NAME]))
    band.set_yticks([])
    band.spines[:].set_visible(False)
    curves.set_xlim(0, timeline.duration_s)
    curves.set_ylim(-0.02, 1.05)
    curves.set_xlabel("seconds", color=INK)
    curves.set_ylabel("probability", color=INK)
    curves.grid(alpha=0.25)
    curves.spines[["top", "right"]].set_visible(False)
    curves.tick_params(colors=MUTED)
    curves.legend(frameon=False, fontsize=9, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.2))
    return png(figure)
