"""The mutants of benchmarks/mutants.py can still be made: the text that each of them changes is there."""

import pytest

from benchmarks.mutants import MUTANTS, ROOT


@pytest.mark.parametrize("file", MUTANTS)
def test_mutants_can_be_made(file):
    tests, mistakes = MUTANTS[file]
    source = (ROOT / file).read_text()
    assert [name for name, (text, _) in mistakes.items() if text not in source] == []
    assert [path for path in tests.split() if not (ROOT / path).exists()] == []
