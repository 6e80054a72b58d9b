"""In which order the gallery shows its examples; what is not named comes last, by name."""

EXAMPLES = ["drop_in", "bare_network", "tables", "service_model",
            "churn", "house_prices", "digits", "hidden_units", "xor", "fastapi_service",
            "model_in_c", "row_by_row", "control_loop", "optuna_pruning"]


class Example:
    """Sort the examples of a folder."""

    def __init__(self, folder):
        pass

    def __call__(self, file):
        """Return the key of a file."""
        name = file.removesuffix(".py")
        return (EXAMPLES.index(name), "") if name in EXAMPLES else (len(EXAMPLES), name)
