"""The methods, one file each; none imports another. They are found through `impasto.methods.registry`."""
