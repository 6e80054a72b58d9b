"""What a notebook shows of an estimator: a link to its page."""

__all__ = ["Documented"]


class Documented:
    """An estimator whose drawing in a notebook links to the reference."""

    _doc_link_module = "fastnn"
    _doc_link_template = ("https://fastnn-mlp.readthedocs.io/en/stable/reference/generated/"
                          "fastnn.{estimator_name}.html")
