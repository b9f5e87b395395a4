"""Sphinx's settings for the site, which `python run.py docs` builds."""

project = "keras_gen"
copyright = "the keras_gen authors, MIT licence"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # no page asks another host for anything
]
html_theme = "sphinx_book_theme"
html_theme_options = {"show_toc_level": 2, "navbar_persistent": []}
html_title = "keras_gen"
html_context = {"default_mode": "auto"}
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
mathjax_path = "mathjax/tex-svg.js"  # put there by sphinx-mathjax-offline
