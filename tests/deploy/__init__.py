"""Tests of a deployment, a package to end its server with its last test."""
