"""The training loop and what it calls: read train.py first."""
