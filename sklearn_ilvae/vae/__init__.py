"""The inverse-Lipschitz variational autoencoder in plain torch."""
