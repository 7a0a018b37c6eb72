"""Pure functions on tensors: adding noise, drawing timesteps, computing the loss."""
