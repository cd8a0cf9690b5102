"""Generator of the tiny models: specifications, containers, reference runs."""
