"""Paints what is seen from many sides: meshes, points, voxels and panoramas. Only colours move, never geometry."""
