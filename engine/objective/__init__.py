"""Pure functions on tensors: the noise put on, the timesteps drawn, the loss taken."""
