"""Poses on their way into annotation tools, and annotated poses on their way back.

`poses_to_annotate` and `annotated_poses` are the forms that all formats share; each format has its
file, which writes the one and reads the other. Coordinates here are image pixels with the centre of
a pixel at integers, boxes are counted from the image's corner. A format whose tool counts points
from the corner too, CVAT and Label Studio, moves them by half a pixel.
"""

from __future__ import annotations
