"""Measurements that take extra passes through the model, at one step in many."""
