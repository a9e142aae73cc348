"""Now and then: what takes extra passes through the model."""
