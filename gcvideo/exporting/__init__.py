"""A trained model as a file for other programs: `export`."""

from gcvideo.exporting.export import FORMATS, ExportFormat, export

__all__ = ["FORMATS", "ExportFormat", "export"]
