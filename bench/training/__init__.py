"""Samples a second of training, against the trainers that a user would take instead."""
