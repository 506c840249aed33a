"""Tests of real processes, a package to end its servers with its last test."""
