"""Activations as heat engines: efficiencies, engine types, dead and saturated units."""
