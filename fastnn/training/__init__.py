"""The compiled trainer, the driver of epochs, and what they are told."""
