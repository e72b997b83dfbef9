"""One module per view: read the request, ask `assets/`, and render a template."""
