"""Colours and file format of every figure: of reports, sweeps and `gcvideo check`."""

import io

from matplotlib.figure import Figure

INK, MUTED, BLUE, ORANGE = "#1f2933", "#7b8794", "#2563eb", "#d9760b"


# Figures are made by Figure() and not by pyplot, which keeps every figure and may look for a display.
def png(figure: Figure) -> bytes:
    """The figure as a PNG file, cropped to what is drawn."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight")
    return stream.getvalue()


def literal(text: str) -> str:
    """Text that matplotlib draws as it is: dollars would enclose a TeX formula, and a bad formula is an error."""
    return text.replace("$", r"\$")
