"""One still picture: what is asked for, the plan, memory, masks, and the way from photograph to result."""
