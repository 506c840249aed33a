"""Inputs and outputs as files."""
