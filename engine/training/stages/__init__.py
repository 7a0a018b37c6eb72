"""What train() does before its loop, one file per stage: begin, load, read, attach, encode, optimize, prepare.

A stage is a function that returns what the next ones need. The order is not free:

- load before read: latents are encoded by the model's VAE, and they decide what can be batched.
- read before attach: Stop TE is a share of the steps, which depend on the pictures.
- attach before encode: whether captions can be encoded once depends on whether a text encoder is trained.
- encode before optimize: the text encoders and denoiser of a large model do not fit on a GPU together, so the encoders
  do their work first, and the optimizer's memory is allocated after they have left.
- prepare last: what happens between the steps needs all of it.
"""
