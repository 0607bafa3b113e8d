"""The report of a test: report.json, predictions.csv and a self-contained report.html.

`write_report` is imported on first use: it needs the training stack, which the plots of other rooms do without.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcvideo.report.write import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    if name != "write_report":
        raise AttributeError(f"module 'gcvideo.report' has no attribute {name!r}")
    from gcvideo.report.write import write_report

    return write_report
