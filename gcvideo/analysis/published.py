"""The query-independence statistics that GCNet (arXiv:1904.11492, table 1) publishes for Kinetics.

The figures were read in a picture of the table. The definitions of the distances are those of a secondary source
(GCNet's issue 24): the paper's text was not at hand. Over how many clips and blocks the paper takes its means is not
known. The network is slow-only ResNet-50 with five NL blocks.
"""

from typing import NamedTuple

NOTE = (
    "published: GCNet, table 1, Kinetics (read in a picture of the table; definitions from a secondary source; over "
    "which blocks and how many clips the paper averages is not known)"
)


class PublishedRow(NamedTuple):
    """A row of the table; None where the paper has no figure.

    Attributes:
        mode: of our NL block.
        top1: accuracy in percent.
    """

    mode: str
    top1: float
    cos_input: float
    cos_output: float
    cos_attention: float
    jsd_attention: float | None


PUBLISHED = (
    PublishedRow("gaussian", 76.0, 0.345, 0.056, 0.056, 0.021),
    PublishedRow("embedded_gaussian", 75.9, 0.358, 0.003, 0.004, 0.015),
    PublishedRow("dot_product", 76.0, 0.353, 0.095, 0.099, None),
    PublishedRow("concatenation", 75.4, 0.354, 0.048, 0.049, None),
)
