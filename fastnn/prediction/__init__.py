"""Forward only, with NumPy alone: the pass, the scaler before it, the labels after it."""
