"""Benchmarks: every operation against what people run today; each answer is checked first."""
