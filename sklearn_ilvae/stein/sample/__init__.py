"""A sample: read, scaled, split into parts, and the plane that holds it."""
