"""The page at `/`: make, watch and keep videos, and run the server."""
