"""What can be read off batches, loss, modules and optimizers without another pass through the model."""
