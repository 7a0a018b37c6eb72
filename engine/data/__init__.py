"""From pictures on disk to batches of latents."""
