"""Data frames to inputs, the same way in training and serving."""
