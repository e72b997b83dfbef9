"""Sphinx builds the documentation from docs/. The reference pages are written from the code first."""

import sys
import warnings
from pathlib import Path

from dagster import BetaWarning

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))
warnings.filterwarnings("ignore", category=BetaWarning)  # the backfill policy is beta; its users know

from docs import reference  # noqa: E402  # the project's root has to be importable first

project = "Cippus"
copyright = "the Cippus authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Cippus"
html_copy_source = False
html_show_sphinx = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

reference.write(FOLDER / "reference")
