"""Moved to `vl4pose.pool.decoding`."""

from vl4pose.pool.decoding import UnreadableImageError, large_images_allowed, read_rgb

__all__ = ["UnreadableImageError", "large_images_allowed", "read_rgb"]
