"""Client of the « solidarité à la source » prefill simulation service."""
