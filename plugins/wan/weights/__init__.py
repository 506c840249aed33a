"""Weights from files to a device: reading, placement, offloading."""
