"""The memory of Wan models, planned without heavy libraries."""
