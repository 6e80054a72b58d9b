"""The site: `make docs` builds it, warnings are errors, and nothing is loaded from elsewhere."""

import shutil
import sys
from pathlib import Path

import tomllib

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

project = "fastnn"
author = copyright = "fastnn developers"
version = release = PROJECT["version"]
repository = PROJECT["urls"]["Source"]

extensions = [
    "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_design",
    "sphinx_copybutton", "sphinx_gallery.gen_gallery", "generated", "mathml", "members",
    "outside",
]
exclude_patterns = ["_ext", "_build", "**/GALLERY_HEADER.rst", "**/README.rst"]
templates_path = ["_templates"]

# ---- text ----

source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 4
html_math_renderer = "mathml"
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
highlight_language = "none"

# ---- reference ----

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False
default_role = "code"

# ---- gallery ----

ROOT = Path(__file__).parents[1]
SECTIONS = sorted(path.name for path in (ROOT / "examples" / "gallery").iterdir() if path.is_dir())
# examples are run where they lie: copies, since some write files
COPIES = ROOT / "build" / "gallery"
shutil.copytree(ROOT / "examples" / "gallery", COPIES, dirs_exist_ok=True)

sphinx_gallery_conf = {
    "examples_dirs": [f"../build/gallery/{name}" for name in SECTIONS],
    "gallery_dirs": [f"gallery/{name}" for name in SECTIONS],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"/_",
    "within_subsection_order": "gallery_order.Example",
    "min_reported_time": 10_000,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "abort_on_example_error": False,
    "only_warn_on_example_error": False,
    "write_computation_times": False,
    "reset_modules": ("gallery_setup.reset",),
    "image_scrapers": ("gallery_setup.scraper",),
    "download_all_examples": False,
    "copyfile_regex": r"never^",
    "nested_sections": False,
}

# ---- pages ----

html_theme = "pydata_sphinx_theme"
html_title = "fastnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "fastnn", "image_light": "_static/favicon.svg",
             "image_dark": "_static/favicon.svg"},
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    "navigation_with_keys": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "back_to_top_button": True,
}
