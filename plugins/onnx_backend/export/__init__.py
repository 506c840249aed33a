"""From a model's folder to the folder that this backend runs."""
