"""Colours and file format of every figure: of reports, sweeps, comparisons and `gcvideo check`."""

import io

from matplotlib.figure import Figure

# Distinct for every kind of colour vision, and in grey: Okabe and Ito's blue and vermilion lead.
INK, MUTED, BLUE, ORANGE = "#1f2933", "#7b8794", "#0072b2", "#d55e00"

PALETTE = (ORANGE, BLUE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d")
"""Okabe and Ito's colours, without yellow, which is hard to see on white."""


# Figures are made by Figure() and not by pyplot, which keeps every figure and may look for a display.
def png(figure: Figure, transparent: bool = False) -> bytes:
    """The figure as a PNG file, cropped to what is drawn; on a white ground unless it is transparent."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight", transparent=transparent)
    return stream.getvalue()


def literal(text: str) -> str:
    """Text that matplotlib draws as it is: dollars would enclose a TeX formula, and a bad formula is an error."""
    return text.replace("$", r"\$")
