"""What a fit chooses: kernel, form, bandwidth, base and strength."""
