"""A run's life outside its process: its folder, its events, starting and stopping it.

Ground floor: nothing here imports torch, and nothing here trains.
"""
