"""Pure functions on tensors and arrays: statistics, colour, masks, optical flow, tiles, a decoder's grid, pickles."""
