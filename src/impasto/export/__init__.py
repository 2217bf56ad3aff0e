"""Ships trained networks in other formats."""
