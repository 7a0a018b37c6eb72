"""How the original single files name and shape what diffusers and transformers name and shape otherwise."""
