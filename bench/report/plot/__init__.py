"""One figure a file: each takes an arena, and returns the drawing together with the numbers behind it."""
