"""Policy gradients: A2C and REINFORCE against RELAX (discrete) and LAX (continuous)."""
