"""What to buy: simulation and capacity."""
