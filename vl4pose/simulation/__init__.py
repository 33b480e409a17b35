"""Simulated annotation: which strategy saves labels on a dataset that has them all."""
