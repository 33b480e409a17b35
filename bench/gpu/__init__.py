"""Benchmarks of the kernels of GPUs: ``python -m bench.gpu OUT``, which ``gpu.sh`` runs."""
