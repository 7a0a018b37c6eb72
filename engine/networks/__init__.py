"""Small trainable networks attached to a base model, and the files that other programs read them from."""
