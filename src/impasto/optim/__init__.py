"""The one loop that optimises an image: `descend`, what it moves (canvases) and what it evaluates."""
