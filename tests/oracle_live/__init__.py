"""OpenFisca-France, alive: new random households, in a process and an environment of its own. Long form only."""
