"""CHANGELOG.md, CITATION.cff and CONTRIBUTING.md say what the package is."""

import re
from datetime import date
from pathlib import Path

import pytest
import yaml

import gcvideo

ROOT = Path(__file__).parent.parent
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")  # of Keep a Changelog


@pytest.fixture(scope="module")
def citation():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_newest_version_of_the_changelog_is_that_of_the_package():
    heads = re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)
    assert heads[0] == "[Unreleased]"
    releases = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", head) for head in heads[1:]]
    assert all(releases), heads
    assert releases[0][1] == gcvideo.__version__
    dates = [date.fromisoformat(release[2]) for release in releases]
    assert dates == sorted(dates, reverse=True)


def test_the_changelog_has_the_usual_kinds_of_changes():
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= set(KINDS)


def test_the_citation_has_what_the_format_requires(citation):
    """Required keys and types of the Citation File Format 1.2.0."""
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "version", "date-released", "license"} <= set(citation)
    assert citation["type"] == "software"
    for author in citation["authors"]:
        assert "name" in author or "family-names" in author
    date.fromisoformat(citation["date-released"])  # a text: a YAML date would not be one for all readers
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)


def test_the_citation_is_of_this_version(citation):
    assert citation["version"] == gcvideo.__version__
    assert f"## [{citation['version']}] - {citation['date-released']}" in CHANGELOG
    assert citation["license"] in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert any("1904.11492" in reference["url"] for reference in citation["references"])


def test_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:gcvideo|tests|configs|docs|benchmarks|data)/[\w./]*\w/?)`", text):
        assert (ROOT / name).exists(), name
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_make_targets_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"make ([\w-]+)", text)) <= set(targets)
