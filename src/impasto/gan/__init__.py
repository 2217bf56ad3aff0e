"""Pictures out of StyleGAN networks: samples, mixtures, walks, and photographs found again in a network."""
