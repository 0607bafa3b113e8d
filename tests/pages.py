"""Names that a page must not obey, and what a browser makes of a page."""

from html.parser import HTMLParser

HOSTILE = ("<script>alert(1)</script>", "{{7*7}} {% raw %}", "\" onerror='alert(2)' & $\\bad{$")


class Page(HTMLParser):
    """What a browser makes of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.images, self.links = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag == "a":
            self.links.append(dict(attributes)["href"])

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())
