"""One module for each page, with `render(source)`, and the parts of pages."""
