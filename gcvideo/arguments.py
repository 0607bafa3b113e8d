"""How the verbs that are no training read their arguments: defaults in the help, no abbreviated options."""

import argparse


def verb_parser(verb: str, description: str) -> argparse.ArgumentParser:
    """Parser of `gcvideo VERB`."""
    return argparse.ArgumentParser(
        prog=f"gcvideo {verb}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
