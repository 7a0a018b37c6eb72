"""What train() does before its loop, a file a stage: begin, load, read, attach, encode, optimize, prepare.

A stage is a function that returns what the next ones need. The order is not free:

- load before read: latents are encoded by the model's VAE, and what a batch may be is decided by them.
- read before attach: Stop TE is a share of the steps, which only the pictures give.
- attach before encode: whether captions can be encoded once depends on whether a text encoder is trained.
- encode before optimize: text encoders and the denoiser of a large model do not fit into a GPU side by side, so the
  encoders do their work first, and the optimizer's memory comes when they have gone.
- prepare last: what happens between the steps looks at all of it.
"""
