"""Switches of the fast paths, and the measurements that choose among kernels."""
