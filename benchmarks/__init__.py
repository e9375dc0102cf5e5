"""Benchmarks: each measures ours and a real peer, whole processes, side by side in one run."""
