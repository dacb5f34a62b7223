"""Policy gradients: A2C and REINFORCE against RELAX (discrete actions) and LAX (continuous ones)."""
