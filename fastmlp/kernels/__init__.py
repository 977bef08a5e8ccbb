"""The compiled arithmetic: addresses and integers, nothing of models or specs. README.md is the way in."""
