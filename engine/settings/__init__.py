"""What a run is told: every option declared once, read from and written to files, checked before a start.

Ground floor: nothing here imports torch.
"""
