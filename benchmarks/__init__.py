"""Speed and memory, run by hand: python -m benchmarks.page and python -m benchmarks.training."""
