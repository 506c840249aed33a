"""What `framegate doctor` looks at: one module for each topic."""
