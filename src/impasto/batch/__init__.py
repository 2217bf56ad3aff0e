"""Many pictures: planned, painted with reading and writing beside, and taken up again where a run was broken off."""
