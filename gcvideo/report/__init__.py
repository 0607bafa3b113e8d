"""The report of a test: report.json, predictions.csv and report.html."""

from gcvideo.report.report import write_report

__all__ = ["write_report"]
