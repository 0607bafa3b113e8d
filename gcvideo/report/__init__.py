"""The report of a test: report.json, predictions.csv and a self-contained report.html; see `report.write`."""
