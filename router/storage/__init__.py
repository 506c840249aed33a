"""Inputs and outputs of jobs as files."""
