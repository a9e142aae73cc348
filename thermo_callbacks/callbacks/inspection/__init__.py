"""What is read off batches, losses, modules and optimizers while windows are open."""
