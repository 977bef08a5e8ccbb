"""The suites of `scripts/bench-history`: at most three minutes a commit, on every commit that there is."""
