"""`gcvideo serve`: a page to try a model in the browser."""
