"""Image optimisation (Gatys et al. 2016): the method, its start, regions, memory plan and snapshots."""
