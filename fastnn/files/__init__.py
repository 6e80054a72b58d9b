"""Bytes and plain values: model files without any class of ours."""
