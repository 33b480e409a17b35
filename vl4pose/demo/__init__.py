"""``vl4pose demo``: rendered people, and two small networks that learn them on the spot."""
