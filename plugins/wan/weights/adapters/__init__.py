"""Adapters (LoRAs) of Wan's transformers: their files, and their weights on a device."""
