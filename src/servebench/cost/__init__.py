"""What it costs: the API bill, the serving cost, the energy."""
