"""HTML pages of reports and sweeps: one file with everything in it, which opens without a network.

Every template extends page.html.j2. It escapes every value: class names and file names are untrusted.
"""

from base64 import b64encode
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


class Image(NamedTuple):
    """A picture inside a page: its alternative text and its PNG file in base64."""

    text: str
    base64: str

    def __html__(self) -> Markup:
        return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(*self)  # format() escapes


def image(png: bytes, text: str) -> Image:
    """A picture for a template."""
    return Image(text, b64encode(png).decode("ascii"))


def render(template: str, **values: Any) -> str:
    """The page as HTML.

    Args:
        template: path in the package.
        values: of the names in the template.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    # StrictUndefined: a misspelt name in the template is an error and not an empty place on the page.
    return Environment(
        loader=PackageLoader("gcvideo", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
