"""The compiled arithmetic, which knows addresses and integers but no models or specs. Begin with README.md."""
