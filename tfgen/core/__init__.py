"""How anything trains: the contract, noise, state, strategies; names no model."""
