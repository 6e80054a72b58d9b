"""How the examples of the gallery are run, and how their pictures are taken."""


import matplotlib

matplotlib.use("agg")
STYLE = {
    "figure.dpi": 100, "savefig.dpi": 100, "figure.constrained_layout.use": True,
    "axes.spines.top": False, "axes.spines.right": False, "font.size": 10,
    "svg.hashsalt": "fastnn",
}


def reset(gallery, file):
    """Give each example the same style of pictures and the same number of threads."""
    import matplotlib.pyplot as plt

    plt.close("all")
    plt.rcdefaults()
    plt.rcParams.update(STYLE)


def scraper(block, variables, gallery):
    """Take the pictures of matplotlib with a white ground: text stays readable on a dark page."""
    from sphinx_gallery.scrapers import matplotlib_scraper

    return matplotlib_scraper(block, variables, gallery, facecolor="white")
