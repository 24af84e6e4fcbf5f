"""Many runs: planted defects, sweeps of seeds, shrinking, first divergence."""
